"""The dice on the command line and in sweeps: whatever Hydra accepts for a group works for them."""

import pytest

from lightning_dice.app.schema import config_folder
from lightning_dice.app.shorthand import expand_params, expand_shorthand
from lightning_dice.rules import SettingError

NAMED = [
    "threshold=easy",
    "threshold=easy,hard",
    "threshold=easy, hard",
    "threshold=choice(easy,hard)",
    "threshold=sort(hard,easy)",
    "threshold='easy'",
    "threshold=glob(*)",
    "threshold=glob([e*,h*],exclude=easy)",
    "die=d4,d6",
    "scaling=skip",
    "target=gradient,update",
    "scope=glob(*)",
]
"""Options of groups, which Hydra finds by itself."""
OTHERS = ["~threshold", "threshold@dice=12", "threshold", "seed=1,2", "-m", "--config-dir", "x=(,"]
"""Arguments that set no value of the dice."""
VALUES = {
    "threshold=12": "saving_throw.threshold=12",
    "threshold=2,7,easy": "saving_throw.threshold=2,7,5",
    "threshold=5, 10": "saving_throw.threshold=5, 10",
    "threshold=easy, 12": "saving_throw.threshold=5,12",
    "threshold=range(2,21)": "saving_throw.threshold=range(2,21)",
    "threshold=choice(5,10)": "saving_throw.threshold=choice(5,10)",
    "threshold=choice(easy, 12)": "saving_throw.threshold=choice(5,12)",
    "threshold=interval(5,10)": "saving_throw.threshold=interval(5,10)",
    "threshold=sort(10,5)": "saving_throw.threshold=sort(10,5)",
    "threshold=shuffle(5,10)": "saving_throw.threshold=shuffle(5,10)",
    "threshold=shuffle(easy,12)": "saving_throw.threshold=shuffle(5,12)",
    "threshold=shuffle(choice(easy,12))": "saving_throw.threshold=shuffle(choice(5,12))",
    "threshold=tag(quick,choice(easy,12))": "saving_throw.threshold=tag(quick,choice(5,12))",
    "threshold='12'": "saving_throw.threshold=12",
    "threshold='easy','12'": "saving_throw.threshold=5,12",
    "threshold=${seed}": "saving_throw.threshold=${seed}",
    "+threshold=12": "++saving_throw.threshold=12",
    "++threshold=easy": "++saving_throw.threshold=5",
    "threshold=EASY": "threshold=easy",
    "threshold=Easy,12": "saving_throw.threshold=5,12",
    "die=3d6kh1": "saving_throw.die=3d6kh1",
    "die='3d6kh1'": "saving_throw.die=3d6kh1",
    "die=d20_advantage,d12+1": "saving_throw.die=2d20kh1,d12+1",
    "scaling=[1,null]": "saving_throw.scaling=[1,null]",
    "scaling=[null,-0.5,0.5,1]": "saving_throw.scaling=[null,-0.5,0.5,1]",
    "scaling=[1,0],[0,1]": "saving_throw.scaling=[1,0],[0,1]",
    "scaling=Skip,[1,null]": "saving_throw.scaling=skip,[1,null]",
    "target=Update": "target=update",
}


def expand(*arguments):
    return expand_shorthand(list(arguments), config_folder())


@pytest.mark.parametrize("argument", [*NAMED, *OTHERS])
def test_what_hydra_understands_stays(argument):
    assert expand(argument) == [argument]


@pytest.mark.parametrize("argument", VALUES)
def test_other_values_are_set(argument):
    assert expand(argument) == [VALUES[argument]]


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("threshold=easy,medium", "saving_throw.threshold=5,10"),
        ("threshold=glob(*, exclude=medium)", "saving_throw.threshold=5,15"),
        ("threshold=sort(hard,easy)", "saving_throw.threshold=5,15"),
        ("die=d20", "saving_throw.die=d20"),
        ("scaling=skip", "saving_throw.scaling=skip"),
        ("scope=model", "dice.scope=model"),
        ("target=gradient,update", "dice.target=gradient,update"),
    ],
)
@pytest.mark.parametrize("experiment", ["experiment=skip_update", "+experiment=digits"])
def test_beside_an_experiment_the_dice_are_what_the_command_says(argument, value, experiment):
    """An experiment's own values override its groups, so a group's option would be lost."""
    assert expand(experiment, argument) == [experiment, value]


@pytest.mark.parametrize(
    "argument",
    [
        "threshold=",
        "threshold=choice()",
        "threshold=glob(zzz*)",
        "threshold=range(0,0)",
        "seed=range(0,0)",
        "seed=range(1.0,0.5)",
        "optimizer=choice()",
    ],
)
def test_a_sweep_over_nothing_is_refused(argument):
    key, _, value = argument.partition("=")
    with pytest.raises(SettingError, match="names no value to sweep over") as refusal:
        expand("-m", argument)
    assert (refusal.value.setting, refusal.value.value) == (key, value)


def test_options_in_a_config_folder_of_ones_own_count(tmp_path):
    (tmp_path / "threshold").mkdir()
    own = tmp_path / "threshold" / "brutal.yaml"
    own.write_text("# @package saving_throw\nthreshold: 18\n")
    flag = ["--config-dir", str(tmp_path)]
    assert expand(*flag, "threshold=brutal") == [*flag, "threshold=brutal"]
    assert expand(*flag, "threshold=brutal,3")[-1] == "saving_throw.threshold=18,3"
    flag = [f"--config-dir={tmp_path}"]
    assert expand(*flag, "threshold=brutal") == [*flag, "threshold=brutal"]
    own.write_text("# @package saving_throw\nthreshold: 18\nscaling: skip\n")
    both = ["experiment=digits", "threshold=brutal"]
    assert expand(*flag, *both) == [*flag, *both], "one value does not stand for two"


@pytest.mark.parametrize(
    ("values", "expanded"),
    [
        ("5, 10", "5, 10"),
        ("easy,12", "5,12"),
        ("glob(*)", "5,15,10"),
        ([5, 10], "5,10"),
        (["easy", 12], "5,12"),
        (12, "12"),
    ],
)
def test_an_experiment_sweeps_over_the_dice_as_the_command_line_does(values, expanded):
    params = expand_params({"threshold": values, "seed": "range(0,2)"}, config_folder())
    assert params == {"saving_throw.threshold": expanded, "seed": "range(0,2)"}


def test_a_list_of_lists_sweeps_over_scalings():
    given = {"scaling": [[None, 1], "skip"], "trainer.gradient_clip_val": [1.0, None]}
    assert expand_params(given, config_folder()) == {
        "saving_throw.scaling": "[null,1],skip",
        "trainer.gradient_clip_val": "1.0,null",
    }


@pytest.mark.parametrize("values", [[], "", None, "range(0,0)", "choice()", "glob(zzz*)"])
def test_an_experiment_that_sweeps_over_nothing_is_refused(values):
    with pytest.raises(SettingError, match="names no value to sweep over"):
        expand_params({"threshold": values}, config_folder())
