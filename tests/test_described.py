"""``saving_throw.json``: what stands beside the rolls of somebody's own training."""

import json

import pytest
import torch
from lightning.pytorch import LightningDataModule
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger

from lightning_dice import SavingThrow, SavingThrowCallback
from support.toy import Toy, adamw, fit, loader, quiet_trainer, sgd

THROW = SavingThrow("d20", threshold=10)


def csv_logger(folder):
    return CSVLogger(folder, name="", version="")


def described(folder, name="saving_throw.json"):
    return json.loads((folder / name).read_text())


class Validates(Toy):
    def validation_step(self, batch, batch_idx):
        self.log("val_loss", torch.tensor(0.25))


class Data(LightningDataModule):
    def train_dataloader(self):
        return loader()


def test_it_has_all_that_a_report_asks_for(tmp_path):
    dice = SavingThrowCallback(THROW, target="update", seed=4)
    trainer = fit(Toy(adamw), [dice], logger=csv_logger(tmp_path), max_steps=9)
    found = described(tmp_path)
    assert (found["format"], found["status"], found["error"]) == (1, "finished", None)
    assert found["dice"] == dice.settings
    assert found["seed"] == found["dice"]["seed"] == 4
    assert found["steps"] == trainer.global_step == 9
    assert found["optimizers"] == [{"name": "AdamW", "response": "rescales"}]
    assert found["task"] | {"model": "Toy", "data": None, "optimizer": "AdamW"} == found["task"]
    counts = {str(o): n for o, n in dice.rolls.tally.counts.items()}
    assert found["rolls"]["outcomes"] == counts
    assert found["rolls"]["count"] == sum(counts.values()) == 9
    # Worked out by hand: 1 + 9 x (-(10 - n)/20) + ... of a d20 against 10.
    assert found["odds"]["mean"] == pytest.approx(129 / 400)
    assert found["odds"]["probability"]["failure"] == pytest.approx(8 / 20)
    assert found["versions"]["torch"] == torch.__version__


def test_it_names_the_datamodule(tmp_path):
    trainer = quiet_trainer([SavingThrowCallback(THROW, seed=0)], logger=csv_logger(tmp_path))
    trainer.fit(Toy(), datamodule=Data())
    assert described(tmp_path)["task"]["data"] == "Data"


@pytest.mark.parametrize(
    ("callbacks", "task"),
    [
        ([], {"metric": "val_loss"}),
        ([EarlyStopping("val_loss", mode="max")], {"metric": "val_loss", "mode": "max"}),
    ],
)
def test_it_names_the_metric_that_the_trainer_follows(tmp_path, callbacks, task):
    dice = SavingThrowCallback(THROW, seed=0)
    settings = {"logger": csv_logger(tmp_path), "max_epochs": 1, "max_steps": -1}
    trainer = quiet_trainer([dice, *callbacks], **settings)
    trainer.fit(Validates(), loader(), loader())
    found = described(tmp_path)
    assert found["task"] | task == found["task"]
    assert found["metrics"]["val_loss"] == 0.25
    assert not any(name.startswith("dice") for name in found["metrics"])


@pytest.mark.parametrize(
    ("error", "status"), [(RuntimeError("broke"), "failed"), (KeyboardInterrupt(), "interrupted")]
)
def test_a_training_that_ends_early_says_how(tmp_path, error, status):
    class Ends(Toy):
        def training_step(self, batch, batch_idx):
            if batch_idx == 5:
                raise error
            return super().training_step(batch, batch_idx)

    with pytest.raises((RuntimeError, SystemExit, KeyboardInterrupt)):
        fit(Ends(), [SavingThrowCallback(THROW, seed=0)], logger=csv_logger(tmp_path))
    found = described(tmp_path)
    assert found["status"] == status
    assert found["rolls"]["count"] == found["steps"] == 5
    assert found["error"].startswith(type(error).__name__)


def test_it_is_there_while_training_runs_and_counts_with_every_checkpoint(tmp_path):
    seen = []

    class Looks(Toy):
        def on_train_batch_end(self, *_):
            seen.append((described(tmp_path)["status"], described(tmp_path)["rolls"]["count"]))

    dice = SavingThrowCallback(THROW, seed=0)
    checkpoint = ModelCheckpoint(tmp_path, every_n_train_steps=4)
    settings = {"logger": csv_logger(tmp_path), "enable_checkpointing": True, "max_steps": 6}
    fit(Looks(), [dice, checkpoint], **settings)
    assert seen[0] == ("running", 0)
    assert seen[-1] == ("running", 4)
    assert described(tmp_path)["rolls"]["count"] == 6


def test_every_saving_throw_has_its_own(tmp_path):
    callbacks = [SavingThrowCallback(THROW, seed=0), SavingThrowCallback(SavingThrow("d6", 3))]
    fit(Toy(), callbacks, logger=csv_logger(tmp_path))
    for callback, name in zip(callbacks, ("saving_throw.json", "saving_throw-2.json"), strict=True):
        assert described(tmp_path, name)["dice"] == callback.settings


@pytest.mark.filterwarnings("ignore:Experiment logs directory")
def test_a_run_of_the_application_has_its_summary_instead(tmp_path):
    (tmp_path / "summary.json").write_text("{}")
    fit(Toy(), [SavingThrowCallback(THROW, seed=0)], logger=csv_logger(tmp_path))
    assert not (tmp_path / "saving_throw.json").exists()


def test_nothing_is_left_half_written_beside_it(tmp_path):
    fit(Toy(sgd), [SavingThrowCallback(THROW, seed=0)], logger=csv_logger(tmp_path))
    names = {"hparams.yaml", "metrics.csv", "rolls.csv", "saving_throw.json"}
    assert {path.name for path in tmp_path.iterdir()} == names
