"""Composed configurations, and runs small enough to make in a test."""

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

from lightning_dice.app.schema import config_folder, register
from lightning_dice.app.train import train

QUICK = [
    "trainer.max_steps=6",
    "trainer.val_check_interval=3",
    "trainer.log_every_n_steps=2",
    "trainer.limit_val_batches=2",
    "logger=none",
    "report=false",  # it takes longer than the run
]
CHOICES = {"data": "digits", "model": "cnn", "optimizer": "sgd"}


@pytest.fixture
def composed():
    """Compose ``train`` with overrides."""
    register()

    def compose_train(*overrides):
        GlobalHydra.instance().clear()
        with initialize_config_dir(str(config_folder()), version_base="1.3"):
            return compose("train", list(overrides))

    yield compose_train
    GlobalHydra.instance().clear()


@pytest.fixture
def run(composed, tmp_path):
    """Train on digits for six steps, into ``tmp_path / name``."""

    def train_quickly(*overrides, name="run"):
        config = composed("experiment=digits", *QUICK, *overrides)
        return train(config, tmp_path / name, CHOICES)

    return train_quickly
