"""Learning rates from a table: which one, and what stands above it."""

import pytest
from omegaconf import OmegaConf

from lightning_dice.app.build import build_task
from lightning_dice.app.schema import config_folder
from lightning_dice.app.summary import flat_settings
from lightning_dice.rules import SettingError

OPTIMIZERS = ("pure_sgd", "sgd", "adamw", "rmsprop", "adafactor", "muon")
TABLES = {
    name: OmegaConf.to_container(OmegaConf.load(config_folder() / "tuned" / f"{name}.yaml"))
    for name in ("digits", "python_docs")
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_table_decides_by_optimizer(composed, optimizer):
    for table, rates in TABLES.items():
        config = composed(f"tuned={table}", f"optimizer={optimizer}")
        assert config.optimizer.lr == rates[optimizer]["clipped"] > 0


@pytest.mark.parametrize(
    ("clip", "column"), [("1.0", "clipped"), ("0.5", "clipped"), ("0", "free"), ("null", "free")]
)
def test_the_table_decides_by_clipping(composed, clip, column):
    rates = TABLES["digits"]["adamw"]
    assert rates["clipped"] != rates["free"]
    config = composed("tuned=digits", "optimizer=adamw", f"trainer.gradient_clip_val={clip}")
    assert config.optimizer.lr == rates[column]


def test_without_a_table_each_has_its_own(composed):
    assert composed("optimizer=sgd").optimizer.lr == 0.1
    assert composed("optimizer=adamw").optimizer.lr == 0.001


def test_what_is_said_stands_above_the_table(composed):
    assert composed("tuned=digits", "optimizer.lr=7").optimizer.lr == 7
    assert composed("tuned=digits", "optimizer=sgd_digits").optimizer.lr == 0.3


def test_a_table_without_the_entry_is_refused(composed):
    config = composed("tuned=digits", "optimizer=rmsprop", "~tuned.rmsprop.clipped")
    message = r"tuned='rmsprop.clipped': the table has no learning rate for rmsprop.clipped"
    with pytest.raises(SettingError, match=message):
        build_task(config)


def test_the_table_itself_is_no_setting_of_a_run(composed):
    settings = flat_settings(composed("tuned=digits", "optimizer=rmsprop"))
    assert settings["optimizer.lr"] == TABLES["digits"]["rmsprop"]["clipped"]
    assert not any(key.startswith("tuned") for key in settings)


@pytest.mark.parametrize(
    ("experiment", "data", "model", "table"),
    [
        ("tolerance", "Digits", "ImageClassifier", "digits"),
        ("tolerance_gpt", "PythonDocs", "LanguageModel", "python_docs"),
    ],
)
def test_the_tolerance_experiments_are_tuned(composed, experiment, data, model, table):
    config = composed(f"experiment={experiment}", "optimizer=muon")
    assert config.data._target_.endswith(f".{data}")
    assert config.model._target_.endswith(f".{model}")
    assert config.optimizer.lr == TABLES[table]["muon"]["clipped"]
    assert (config.report, config.checkpoints, config.trajectory) == (False, False, 0)


def test_what_the_command_line_chooses_stands_above_an_experiment(composed):
    own = ["data=own", "data._target_=mine.Data", "model=own", "model._target_=mine.Net"]
    config = composed("experiment=tolerance", *own, "model.width=3")
    assert (config.data._target_, config.model._target_) == ("mine.Data", "mine.Net")
    assert config.model.width == 3
