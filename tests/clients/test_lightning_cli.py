"""LightningCLI configures dice by flags and files, with the jsonargparse versions it allows."""

from __future__ import annotations

import json
import re
import shlex
from importlib.metadata import requires
from pathlib import Path

import pytest
import torch
from packaging.requirements import Requirement

from lightning_dice import SavingThrow, SavingThrowCallback
from lightning_dice.records import read_rolls
from lightning_dice.rules import Roller
from support.by_hand import apart
from support.packages import install, run
from support.reference import train
from support.toy import sgd

pytestmark = pytest.mark.long

SCRIPTS = Path(__file__).parent / "scripts"
PAGE = Path(__file__).parents[2] / "docs" / "lightning-cli.md"


def allowed():
    """What Lightning allows: the lowest jsonargparse, and the newest."""
    needed = next(
        found
        for found in map(Requirement, requires("lightning") or ())
        if found.name == "jsonargparse"
    )
    (lowest,) = (part.version for part in needed.specifier if part.operator == ">=")
    return {"lowest": f"jsonargparse=={lowest}", "newest": f"jsonargparse{needed.specifier}"}


@pytest.fixture(scope="module", params=["lowest", "newest"])
def version(request):
    return request.param


@pytest.fixture(scope="module")
def environment(version, tmp_path_factory):
    folder = tmp_path_factory.mktemp(version)
    return install(folder, allowed()[version], "docstring-parser", "typeshed-client")


CALLBACK = "--trainer.callbacks+=lightning_dice.SavingThrowCallback"
SHORT = "--trainer.callbacks+=SavingThrowCallback"
ARGUMENT = "--trainer.callbacks."
THROW = ARGUMENT + "throw"
MODEL = "--model.saving_throw"
D6 = SavingThrow("d6", 3)
TABLE = SavingThrow("d4", 3, [None, -0.5, 0.5, 1])
D6_JSON = '{"die": "d6", "threshold": 3}'
TABLE_JSON = '{"die": "d4", "threshold": 3, "scaling": [null, -0.5, 0.5, 1]}'


def in_file(throw):
    """A configuration file with such a throw."""
    init = "" if throw is None else f"\n    init_args: {{throw: {throw}}}"
    name = "lightning_dice.SavingThrowCallback"
    return f"trainer:\n  callbacks:\n  - class_path: {name}{init}\n"


OF_THE_CALLBACK = {
    "nothing": ([CALLBACK], {}),
    "by its short name": ([SHORT, f"{THROW}.threshold=3"], {"throw": SavingThrow(threshold=3)}),
    "flags": ([CALLBACK, f"{THROW}.die=d6", f"{THROW}.threshold=3"], {"throw": D6}),
    "flags in full": (
        [
            CALLBACK,
            f"{ARGUMENT}init_args.throw.init_args.die=d6",
            f"{ARGUMENT}init_args.throw.init_args.threshold=3",
        ],
        {"throw": D6},
    ),
    "a die with a modifier": (
        [CALLBACK, f"{THROW}.die=2d20kh1+2"],
        {"throw": SavingThrow("2d20kh1+2")},
    ),
    "a die of parts": (
        in_file("{die: {sides: 6, modifier: 1}, threshold: 3}"),
        {"throw": SavingThrow("d6+1", 3)},
    ),
    "a scaling's name": (
        [CALLBACK, f"{THROW}.scaling=skip", f"{THROW}.normalize=rms"],
        {"throw": SavingThrow(scaling="skip", normalize="rms")},
    ),
    "a table": (
        [CALLBACK, f"{THROW}.die=d4", f"{THROW}.threshold=3", f"{THROW}.scaling=[null,-0.5,0.5,1]"],
        {"throw": TABLE},
    ),
    "JSON": ([CALLBACK, f"{THROW}={D6_JSON}"], {"throw": D6}),
    "JSON with a table": ([CALLBACK, f"{THROW}={TABLE_JSON}"], {"throw": TABLE}),
    "a class": (
        [CALLBACK, f"{THROW}=lightning_dice.SavingThrow", f"{THROW}.threshold=3"],
        {"throw": SavingThrow(threshold=3)},
    ),
    "a class's short name": (
        [CALLBACK, f"{THROW}=SavingThrow", f"{THROW}.threshold=3"],
        {"throw": SavingThrow(threshold=3)},
    ),
    "class_path": (
        [
            CALLBACK,
            f"{THROW}.class_path=lightning_dice.SavingThrow",
            f"{THROW}.init_args.threshold=3",
        ],
        {"throw": SavingThrow(threshold=3)},
    ),
    "null": ([CALLBACK, f"{THROW}=null"], {}),
    "a file": (in_file("{die: d6, threshold: 3}"), {"throw": D6}),
    "a file with a table": (in_file(TABLE_JSON), {"throw": TABLE}),
    "a file with null": (in_file("null"), {}),
    "a file with class_path": (
        in_file("{class_path: lightning_dice.SavingThrow, init_args: {die: d6, threshold: 3}}"),
        {"throw": D6},
    ),
    "a file with the short class_path": (
        in_file("{class_path: SavingThrow, init_args: {die: d6, threshold: 3}}"),
        {"throw": D6},
    ),
    "all other arguments": (
        [
            CALLBACK,
            f"{ARGUMENT}target=update",
            f"{ARGUMENT}scope=tensor",
            f"{ARGUMENT}include=[a*,b*]",
            f"{ARGUMENT}exclude+=c",
            f"{ARGUMENT}draws=deck",
            f"{ARGUMENT}seed=18446744073709551615",
            f"{ARGUMENT}changes=[threshold]",
        ],
        {
            "target": "update",
            "scope": "tensor",
            "include": ["a*", "b*"],
            "exclude": ["c"],
            "draws": "deck",
            "seed": 2**64 - 1,
            "changes": ["threshold"],
        },
    ),
    "mini-batches": (
        [CALLBACK, f"{ARGUMENT}granularity=per_mini_batch", f"{ARGUMENT}ranks=independent"],
        {"granularity": "per_mini_batch", "ranks": "independent"},
    ),
    "steps left out": (
        [CALLBACK, f"{ARGUMENT}skip_discarded=true", f"{ARGUMENT}seed=null"],
        {"skip_discarded": True},
    ),
}
OF_THE_MODULE = {
    "nothing": ("rolls", [], None),
    "flags": ("rolls", [f"{MODEL}.die=d6", f"{MODEL}.threshold=3", "--model.seed=5"], D6),
    "null": ("rolls", [f"{MODEL}=null"], None),
    "JSON": ("rolls", [f"{MODEL}={TABLE_JSON}"], TABLE),
    "a table": (
        "rolls",
        [f"{MODEL}.die=d4", f"{MODEL}.threshold=3", f"{MODEL}.scaling=[null,-0.5,0.5,1]"],
        TABLE,
    ),
    "class_path": (
        "rolls",
        [f"{MODEL}=lightning_dice.SavingThrow", f"{MODEL}.init_args.threshold=3"],
        SavingThrow(threshold=3),
    ),
    "keyword arguments": (
        "passes",
        [f"{MODEL}.die=d6", f"{MODEL}.threshold=3", "--model.seed=5"],
        D6,
    ),
    "without a default": ("required", [f"{MODEL}.die=d6", f"{MODEL}.threshold=3"], D6),
    "any module": (
        "any",
        ["--model=__main__.Rolls", f"{MODEL}.die=d6", f"{MODEL}.threshold=3"],
        D6,
    ),
    "any module, with a table": (
        "any",
        [
            "--model=__main__.Rolls",
            f"{MODEL}.die=d4",
            f"{MODEL}.threshold=3",
            f"{MODEL}.scaling=[null,-0.5,0.5,1]",
        ],
        TABLE,
    ),
}
GROUP = ["--dice.throw.die=d6", "--dice.throw.threshold=3", "--seed_everything=4"]
REFUSED = {
    "a threshold out of reach": (["{THROW}.threshold=99"], "unreachable, as d20 totals at most 20"),
    "another die": (["{THROW}.die=dX"], "expected dice notation such as d20"),
    "a setting that there is not": (["{THROW}.treshold=3"], "treshold"),
    "text alone": (["{THROW}=d6"], "throw"),
}


def expected(throw=None, **settings):
    changes, skips = settings.pop("changes", []), settings.pop("skip_discarded", False)
    own = SavingThrowCallback(throw, **settings).settings
    return {**json.loads(json.dumps(own)), "changes": changes, "skip_discarded": skips}


@pytest.fixture(scope="module")
def tried(environment, tmp_path_factory):
    """Tries all ways in one process, which takes most of its time to start."""
    folder = tmp_path_factory.mktemp("ways")
    ways = {}
    for name, (given, _) in OF_THE_CALLBACK.items():
        if isinstance(given, str):
            path = folder / f"{len(ways)}.yaml"
            path.write_text(given)
            given = ["--config", str(path)]
        ways["callback", name] = ("plain", "boring", given)
    path = folder / "base.yaml"
    path.write_text(in_file("{die: d6, threshold: 3}"))
    over = ["--config", str(path), f"{THROW}.threshold=4"]
    ways["callback", "a file and a flag"] = ("plain", "boring", over)
    for name, (model, given, _) in OF_THE_MODULE.items():
        ways["module", name] = ("plain", model, given)
    for name, (given, _) in REFUSED.items():
        given = [one.format(THROW=THROW) for one in given]
        ways["refused", name] = ("plain", "boring", [CALLBACK, *given])
    ways["default"] = ("plain", "default", [])
    ways["default, changed"] = ("plain", "default", [f"{MODEL}.threshold=4"])
    ways["group"] = ("group", "boring", GROUP)
    ways["linked"] = ("linked", "rolls", GROUP)
    ways["own"] = ("own", "rolls", ["--throw.die=d6", "--throw.threshold=3"])
    text = json.dumps(list(ways.values()))
    done = run([SCRIPTS / "cli_ways.py"], input=text, env=environment)
    return dict(zip(ways, json.loads(done.stdout.splitlines()[-1]), strict=True))


def made(outcome):
    """What was made by a way that works, and by the configuration that it saves."""
    assert "error" not in outcome, outcome["error"]
    assert outcome["again"] == outcome["first"]
    return outcome["first"]


@pytest.mark.parametrize("name", OF_THE_CALLBACK)
def test_the_callback_is_configured(tried, name):
    _, settings = OF_THE_CALLBACK[name]
    assert made(tried["callback", name])["callbacks"] == [expected(**settings)]


def test_a_flag_changes_what_a_file_has(tried):
    (settings,) = made(tried["callback", "a file and a flag"])["callbacks"]
    assert settings == expected(SavingThrow("d6", 4))


@pytest.mark.parametrize("name", OF_THE_MODULE)
def test_a_module_is_configured(tried, name):
    _, given, throw = OF_THE_MODULE[name]
    seed = 5 if "--model.seed=5" in given else None
    settings = None if throw is None else throw.settings()
    assert made(tried["module", name]) == {"callbacks": [], "module": settings, "seed": seed}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_is_named(tried, name):
    assert REFUSED[name][1] in tried["refused", name]["error"]


def test_a_throw_that_is_a_default_is_saved_and_changed(tried, version):
    if version == "lowest":  # which saves no instance of a class, whatever the class
        assert "Unable to serialize instance" in tried["default"]["error"]
        return
    assert made(tried["default"])["module"] == D6.settings()
    assert made(tried["default, changed"])["module"] == SavingThrow("d6", 4).settings()


def test_dice_may_be_a_group_of_their_own_and_linked(tried):
    assert made(tried["group"])["callbacks"] == [expected(D6, seed=4)]
    linked = made(tried["linked"])
    assert linked["callbacks"] == [expected(D6, seed=4, granularity="per_mini_batch")]
    assert linked["module"] == D6.settings()
    assert made(tried["own"])["module"] == D6.settings()


def scales(path):
    return [record.scale for record in read_rolls(path)]


def examples():
    """The files that the page shows by name, and its commands as lists of words."""
    text = PAGE.read_text(encoding="utf-8")
    files = dict(re.findall(r'^```(?:py|yaml) title="([^"]+)"\n(.*?)^```', text, re.M | re.S))
    shown = "".join(re.findall(r"^```bash\n(.*?)^```", text, re.M | re.S)).replace("\\\n", " ")
    return files, [shlex.split(line) for line in shown.splitlines()]


@pytest.mark.timeout(1200)  # a dozen programs, each of which loads Lightning
def test_the_examples_of_the_page_run(environment, tmp_path):
    files, commands = examples()
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    assert {words[1] for words in commands} == {name for name in files if name.endswith(".py")}
    printed = ""
    for program, script, *arguments in commands:
        assert program == "python"
        quiet = ["--trainer.accelerator=cpu", "--trainer.logger.class_path=CSVLogger"]
        quiet += ["--trainer.logger.save_dir=.", "--trainer.enable_progress_bar=false"]
        flags = [one for one in arguments if one != "--print_config"]
        done = run(
            [script, *flags, *quiet, *(arguments[len(flags) :] and ["--print_config"])],
            cwd=tmp_path,
            env=environment,
        )
        printed += done.stdout
    assert "die: d6" in printed
    folders = sorted((tmp_path / "lightning_logs").iterdir())
    rolled = [[one.natural for one in read_rolls(folder / "rolls.csv")] for folder in folders]
    assert len(rolled) == len(commands) - 1, "all but the one that prints"
    assert all(len(naturals) == 64 for naturals in rolled)
    d6 = Roller(SavingThrow("d6", 3), 0).naturals(0, 64).tolist()
    assert rolled[0] == rolled[2] == rolled[3] == d6
    assert rolled[4] == Roller(SavingThrow(threshold=5), 0).naturals(0, 64).tolist()
    assert rolled[5] == Roller(SavingThrow(threshold=5), 4).naturals(0, 64).tolist()


def test_training_and_its_saved_configuration_roll_the_same(environment, tmp_path):
    arguments = [
        "fit",
        "--trainer.accelerator=cpu",
        "--trainer.max_steps=10",
        "--trainer.enable_progress_bar=false",
        "--trainer.logger=CSVLogger",
        "--trainer.logger.save_dir=first",
        CALLBACK,
        f"{THROW}.die=d6",
        f"{THROW}.threshold=3",
        f"{THROW}.scaling=[null,-0.75,0.25,0.0,1.0,2.5]",
        f"{ARGUMENT}seed=630",
    ]
    run([SCRIPTS / "cli_train.py", *arguments], cwd=tmp_path, env=environment)
    first = tmp_path / "first/lightning_logs/version_0"
    again = ["fit", "--config", first / "config.yaml", "--trainer.logger.save_dir=again"]
    run([SCRIPTS / "cli_train.py", *again], cwd=tmp_path, env=environment)
    second = tmp_path / "again/lightning_logs/version_0"
    table = [None, -0.75, 0.25, 0.0, 1.0, 2.5]
    faces = Roller(SavingThrow("d6", 3, table), 630).naturals(0, 10)
    factors = [table[int(face) - 1] for face in faces]
    by_hand, _ = train(sgd, 10, step_scales=factors)
    for folder in (first, second):
        assert scales(folder / "rolls.csv") == factors
        kept = next(folder.glob("checkpoints/*.ckpt"))
        state = torch.load(kept, weights_only=True)["state_dict"]
        assert apart(state.values(), by_hand) <= 1e-6
