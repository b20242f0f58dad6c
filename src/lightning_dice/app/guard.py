"""Ranks that would train on different configurations are refused, whoever started them."""

from __future__ import annotations

from lightning.pytorch import Callback, LightningModule, Trainer
from omegaconf import DictConfig
from typing_extensions import override

from lightning_dice.app.summary import flatten
from lightning_dice.ranks import check_same, gather


class SameEverywhere(Callback):
    """Compares the whole configuration of all ranks, before any of them builds its model.

    It stands first among the callbacks, dice or no dice, as ranks that do not ask each other the
    same questions wait for each other for ever.

    Args:
        config: The composed configuration. Loggers are left out: one rank has them.
        step: The optimizer step that training goes on with.
    """

    def __init__(self, config: DictConfig, step: int) -> None:
        self._settings = {**flatten(config, without=["logger"]), "ckpt_path (its step)": step}

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        check_same(gather(self._settings, trainer.world_size))
