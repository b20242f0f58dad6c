"""Values of ours that a module keeps as hyper-parameters: every logger and file takes them."""

import copy
import pickle
from pathlib import Path

import pytest
import yaml
from lightning.pytorch.loggers import CSVLogger, MLFlowLogger, TensorBoardLogger, WandbLogger

from lightning_dice import DiceLightningModule, Die, Outcome, SavingThrow, SavingThrowCallback
from support.toy import Toy, fit, sgd

TABLE = SavingThrow("d4", 2, [None, -0.5, 0.5, 1])
VALUES = {
    "throw": SavingThrow("d20+2", threshold=12, scaling="skip", normalize="mean"),
    "table": TABLE,
    "die": Die.parse("2d20kh1-1"),
    "outcome": Outcome.FAILURE,
    "roll": TABLE.resolve(2),
    "odds": TABLE.odds(),
    "nested": {"throws": [TABLE, SavingThrow()], "die": Die(6)},
}
LOGGERS = {
    "csv": lambda folder: CSVLogger(folder),
    "tensorboard": lambda folder: TensorBoardLogger(folder),
}
TRACKERS = {
    "wandb": lambda folder: WandbLogger(save_dir=folder, offline=True),
    "mlflow": lambda folder: MLFlowLogger("dice", tracking_uri=f"sqlite:///{folder}/mlflow.db"),
}


class Keeps(Toy):
    def __init__(self, value=None, lr=0.1):
        super().__init__(sgd)
        self.save_hyperparameters()


class Rolls(DiceLightningModule, Toy):
    def __init__(self, saving_throw=None, lr=0.1):
        super().__init__(saving_throw)
        self.save_hyperparameters()


def kept(kind, value, logger, folder):
    """A module that has trained with ``value`` and such a logger, and its checkpoint."""
    path = folder / "kept.ckpt"
    trainer = fit(kind(value), logger=logger(folder), max_steps=2)
    trainer.save_checkpoint(path)
    return trainer, path


@pytest.mark.parametrize("logger", LOGGERS.values(), ids=LOGGERS)
@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
def test_it_is_logged_and_loaded(value, logger, tmp_path):
    _, path = kept(Keeps, value, logger, tmp_path)
    for weights_only in (True, False):
        loaded = Keeps.load_from_checkpoint(path, weights_only=weights_only)
        assert loaded.hparams.value == value
        assert type(loaded.hparams.value) is type(value)


@pytest.mark.parametrize("logger", TRACKERS.values(), ids=TRACKERS)
@pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy")  # inside mlflow
def test_trackers_take_a_saving_throw(logger, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    trainer, path = kept(Keeps, VALUES["throw"], logger, tmp_path)
    assert Keeps.load_from_checkpoint(path, weights_only=True).hparams.value == VALUES["throw"]
    if isinstance(trainer.logger, WandbLogger):
        trainer.logger.experiment.finish()


@pytest.mark.parametrize("logger", LOGGERS.values(), ids=LOGGERS)
def test_hparams_yaml_holds_plain_values_that_give_the_same_module(logger, tmp_path):
    trainer, path = kept(Rolls, TABLE, logger, tmp_path)
    written = Path(trainer.log_dir, "hparams.yaml")
    assert yaml.safe_load(written.read_text())["saving_throw"] == TABLE.settings()
    loaded = Rolls.load_from_checkpoint(path, hparams_file=written, weights_only=True)
    assert loaded.saving_throw == TABLE


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
def test_it_is_copied_and_pickled(value):
    assert copy.deepcopy(value) == copy.copy(value) == pickle.loads(pickle.dumps(value)) == value


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
def test_it_is_written_as_yaml_of_plain_values(value):
    for dump in (yaml.dump, yaml.safe_dump):
        assert yaml.safe_load(dump({"value": value})) is not None


def test_a_callback_among_them_is_kept_without_what_it_holds_of_a_training(tmp_path):
    dice = SavingThrowCallback(TABLE, seed=1)
    model = Keeps(dice)
    trainer = fit(model, [dice], logger=CSVLogger(tmp_path), max_steps=3)
    trainer.save_checkpoint(tmp_path / "kept.ckpt")
    loaded = Keeps.load_from_checkpoint(tmp_path / "kept.ckpt", weights_only=False)
    assert loaded.hparams.value.settings == dice.settings
