"""Composed configurations, and runs small enough to make in a test."""

import copy

import pytest
from hydra.core.global_hydra import GlobalHydra

from lightning_dice.app.train import train
from support.composing import compose_train
from support.plugins import looked_up_once

QUICK = [
    "trainer.max_steps=6",
    "trainer.val_check_interval=3",
    "trainer.log_every_n_steps=2",
    "trainer.limit_val_batches=2",
    "logger=none",
    "report=false",  # it takes longer than the run
]
CHOICES = {"data": "digits", "model": "cnn", "optimizer": "sgd"}


@pytest.fixture(autouse=True)
def plugins():
    with looked_up_once():
        yield


@pytest.fixture
def composed():
    """Compose ``train`` with overrides."""
    yield lambda *overrides: copy.deepcopy(compose_train(*overrides))
    GlobalHydra.instance().clear()


@pytest.fixture
def run(composed, tmp_path):
    """Train on digits for six steps, into ``tmp_path / name``."""

    def train_quickly(*overrides, name="run"):
        config = composed("experiment=digits", *QUICK, *overrides)
        return train(config, tmp_path / name, CHOICES)

    return train_quickly
