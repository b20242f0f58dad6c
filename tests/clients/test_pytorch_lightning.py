"""The callback in a Trainer of the package's older name, which many code bases still import."""

import logging
from pathlib import Path

import pytest

from lightning_dice import DiceLightningModule, SavingThrowCallback
from lightning_dice.module import DiceModuleMixin
from lightning_dice.records import read_rolls
from support.by_hand import SEED, THROW, apart, factor, windows
from support.by_hand import train as by_hand
from support.toy import Toy, adamw, loader, loss_of, network, same, sgd
from support.toy import fit as fit_new

pl = pytest.importorskip("pytorch_lightning")


class Old(pl.LightningModule):
    def __init__(self, factory):
        super().__init__()
        self.net = network()
        self.factory = factory

    def training_step(self, batch, batch_idx):
        return loss_of(self.net, batch)

    def configure_optimizers(self):
        return self.factory(self.parameters())


def fit(folder, factory, callback):
    trainer = pl.Trainer(
        accelerator="cpu",
        precision="64-true",
        max_epochs=1,
        accumulate_grad_batches=2,
        callbacks=[callback],
        logger=pl.loggers.CSVLogger(folder),
        log_every_n_steps=1,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    model = Old(factory)
    trainer.fit(model, loader())
    return trainer, model


@pytest.mark.parametrize("factory", [sgd, adamw])
@pytest.mark.parametrize("kind", ["gradient", "update", "per_mini_batch"])
def test_it_trains_as_a_plain_loop_does(kind, factory, tmp_path):
    where = {"granularity": kind} if kind == "per_mini_batch" else {"target": kind}
    callback = SavingThrowCallback(THROW, seed=SEED, **where)
    trainer, model = fit(tmp_path, factory, callback)
    expected = by_hand(factory, kind, windows([2] * 6))
    assert apart(model.parameters(), expected) <= 1e-12
    count = 12 if kind == "per_mini_batch" else 6
    rolls = list(read_rolls(Path(trainer.log_dir, "rolls.csv")))
    assert [roll.scale for roll in rolls] == [factor(key) for key in range(count)]


def test_code_of_both_names_can_train_in_one_process(tmp_path):
    callbacks = [SavingThrowCallback(THROW, seed=SEED) for _ in range(2)]
    _, old = fit(tmp_path, sgd, callbacks[0])
    new = Toy(sgd)
    once = {"precision": "64-true", "max_steps": -1, "max_epochs": 1}
    fit_new(new, [callbacks[1]], accumulate_grad_batches=2, **once)
    assert same(old.parameters(), new.parameters())


def test_a_single_callback_needs_no_list(tmp_path):
    callback = SavingThrowCallback(THROW, seed=SEED)
    settings = {"accelerator": "cpu", "max_steps": 3, "logger": False, "callbacks": callback}
    quiet = {"enable_checkpointing": False, "enable_progress_bar": False}
    pl.Trainer(**settings, **quiet, enable_model_summary=False).fit(Old(sgd), loader())
    assert callback.rolls.tally.rolls == 3


def test_a_module_brings_its_own_dice_by_the_mixin(tmp_path):
    class Mine(DiceModuleMixin, Old):
        pass

    model = Mine(THROW, SEED, factory=sgd)
    trainer = pl.Trainer(accelerator="cpu", max_steps=4, default_root_dir=tmp_path, logger=False)
    trainer.fit(model, loader())
    (callback,) = (one for one in trainer.callbacks if isinstance(one, SavingThrowCallback))
    assert [record.scale for record in callback.rolls.recent] == [factor(key) for key in range(4)]


def test_a_module_of_lightning_is_told_what_to_derive_from(caplog):
    class Mine(DiceLightningModule):
        pass

    with caplog.at_level(logging.INFO):
        model = Mine(THROW)
    assert "DiceModuleMixin and pytorch_lightning.LightningModule" in caplog.text
    with pytest.raises(TypeError, match="Mine"):
        pl.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False).fit(model, loader())


def test_parameters_that_are_chosen_by_name_and_files(tmp_path):
    callback = SavingThrowCallback(THROW, seed=SEED, scope="tensor", include=["net.0.*"])
    trainer, _ = fit(tmp_path, sgd, callback)
    names = {"rolls.csv", "slots.csv", "saving_throw.json", "hparams.yaml"}
    assert names <= {path.name for path in Path(trainer.log_dir).iterdir()}
