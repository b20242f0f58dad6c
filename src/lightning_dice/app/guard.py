"""Ranks that would train on different configurations are refused, whoever started them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from omegaconf import DictConfig, OmegaConf
from typing_extensions import override

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
        plain = OmegaConf.to_container(config, resolve=True)
        assert isinstance(plain, dict)
        self._settings = dict(_flat({key: plain[key] for key in plain if key != "logger"}))
        self._settings["ckpt_path (its step)"] = step

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        check_same(gather(self._settings, trainer))


def _flat(nested: Mapping[Any, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in nested.items():
        name = f"{above}{key}"
        if isinstance(value, Mapping):
            yield from _flat(value, f"{name}.")
        else:
            yield name, value
