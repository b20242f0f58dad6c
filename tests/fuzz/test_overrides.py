"""Whatever is overridden, added or deleted, a run is built or refused with a short message."""

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hypothesis import strategies as st

from lightning_dice.app.build import build_arm, build_dice, build_metric, build_task
from lightning_dice.app.console import message_of, says_it_all
from lightning_dice.app.schema import config_folder, register
from lightning_dice.app.shape import check_shape
from lightning_dice.app.shorthand import expand_shorthand
from lightning_dice.app.summary import flat_settings
from lightning_dice.app.trainer import build_trainer
from lightning_dice.rules import SettingError
from support.odd import fuzzed

BASE = ["experiment=digits", "trainer.max_steps=2", "logger=none", "checkpoints=false"]
GROUPS = ["data", "model", "optimizer", "trainer", "logger", "tuned", "control", "experiment"]
DICE = ["threshold", "die", "scaling", "target", "scope", "granularity"]
NODES = ["saving_throw", "dice", "metric", "hydra", "hydra.run"]
KEYS = [
    *["seed", "report", "trajectory", "twin", "ckpt_path", "progress", "checkpoints", "x"],
    *[
        "saving_throw.die",
        "saving_throw.threshold",
        "saving_throw.scaling",
        "saving_throw.normalize",
    ],
    *["saving_throw.x", "dice.target", "dice.scope", "dice.include", "dice.seed", "dice.changes"],
    *["dice.skip_discarded", "dice.granularity", "dice.ranks", "dice.x", "metric.name", "metric.x"],
    *["metric.mode", "optimizer.lr", "optimizer.momentum", "optimizer._target_", "optimizer.x"],
    *["model.channels", "model.side", "model.hidden", "model.dropout", "model._target_", "model.x"],
    *["data.batch_size", "data.val_fraction", "data.label_noise", "data._target_", "data.x"],
    *["trainer.devices", "trainer.strategy", "trainer.precision", "trainer.max_steps", "trainer.x"],
    *["trainer.accumulate_grad_batches", "trainer.gradient_clip_val", "trainer.val_check_interval"],
    *[
        "trainer.limit_train_batches",
        "trainer.limit_val_batches",
        "trainer.accelerator",
        "logger.a",
    ],
]
VALUES = [
    *[
        "0",
        "1",
        "-1",
        "1.5",
        "null",
        "true",
        "abc",
        "",
        "[]",
        "[1]",
        "[[1]]",
        "[a,b]",
        "{}",
        "{a:1}",
    ],
    *["nan", "inf", "-0.0", "1e155", "1e999", "9" * 5000, "x" * 3000, "'a,b'", '"quoted"', "???"],
    *[
        "${nowhere}",
        "${seed}",
        "${dice}",
        "${tuned:}",
        "${tuned:a,b}",
        "${oops:1}",
        "${oc.env:NOPE}",
    ],
    *[
        "${seed",
        "$",
        "\\",
        "'",
        "a b",
        "a:b",
        "1,2",
        "range(0,3)",
        "range(0,1e400)",
        "interval(0,1)",
    ],
    *["glob(*)", "choice(1,2)", "sort(3,1)", "shuffle(1)", "int(1)", "str([1])", "float(x)", "a=b"],
    *[
        "torch.nn.Linear",
        "no.where",
        "os",
        "[null]",
        "{a:{b:[${seed}]}}",
        "a\udc80",
        "\0",
        "ä",
        "@",
    ],
]


def build(overrides, folder):
    arguments = expand_shorthand([*BASE, *overrides], config_folder())
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        config = compose("train", arguments)
    check_shape(config)
    flat_settings(config)
    arm = build_arm(config)
    dice, metric = build_dice(config), build_metric(config)
    build_task(config, arm.lr_factor)
    build_trainer(config, folder, metric, dice)


def tell(overrides, folder):
    """Build a run, or see that what refuses it needs no traceback."""
    register()
    try:
        build(overrides, folder)
    except Exception as error:
        if not says_it_all(error):
            raise
        text = message_of(error)
        assert text.strip()
        assert len(text) < 20_000
        return error
    return None


def settle(key, value, how):
    return f"~{key}" if how == "~" else f"{how}{key}={value}"


OVERRIDES = st.builds(
    settle,
    st.sampled_from([*GROUPS, *DICE, *NODES, *KEYS]),
    st.sampled_from(VALUES),
    st.sampled_from(["", "", "", "+", "++", "~"]),
)

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.mark.parametrize(
    "value", ["0", "null", "[1]", "[[1]]", "{a:1}", "${nowhere}", "range(0,3)"]
)
def test_every_group_is_given_something_else(value, tmp_path):
    for group in [*GROUPS, *NODES]:
        tell([f"{group}={value}"], tmp_path)


@pytest.mark.parametrize("name", [*GROUPS, *NODES, "seed", "twin", "optimizer.lr"])
def test_everything_is_deleted(name, tmp_path):
    tell([f"~{name}"], tmp_path)


@pytest.mark.parametrize(
    ("given", "setting"),
    [
        ("data=0", "data"),
        ("model=[1]", "model"),
        ("control=[[1]]", "control"),
        ("experiment=null", "experiment"),
        ("+saving_throw.x=1", "saving_throw.x"),
        ("+dice.x=1", "dice.x"),
        ("+logger.a=1", "logger.a"),
        ("~metric", "metric"),
        ("optimizer.lr=nan", "optimizer.lr"),
        ("seed=range(0,1e400)", "seed"),
    ],
)
def test_what_is_refused_is_named(given, setting, tmp_path):
    error = tell([given], tmp_path)
    assert isinstance(error, SettingError)
    assert error.setting == setting
    assert len(str(error).splitlines()) == 1


@fuzzed(few=25, overrides=st.lists(OVERRIDES, min_size=1, max_size=3))
def test_overrides(overrides):
    tell(overrides, config_folder())
