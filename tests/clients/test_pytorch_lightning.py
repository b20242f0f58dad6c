"""The callback in a Trainer of the package's older name, which many code bases still import."""

from pathlib import Path

import pytest

from lightning_dice import SavingThrowCallback
from lightning_dice.records import read_rolls
from support.by_hand import SEED, THROW, apart, factor, windows
from support.by_hand import train as by_hand
from support.toy import Toy, adamw, loader, loss_of, network, same, sgd
from support.toy import fit as fit_new

pl = pytest.importorskip("pytorch_lightning")
MINI_BATCH = pytest.param(
    "per_mini_batch", marks=pytest.mark.xfail(reason="is asked for a parent", raises=ValueError)
)


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
@pytest.mark.parametrize("kind", ["gradient", "update", MINI_BATCH])
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
