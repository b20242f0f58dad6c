"""What a Trainer trains, as plain values for ``saving_throw.json``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lightning.pytorch import LightningModule, Trainer

from lightning_dice.described import describe_optimizers, describe_versions
from lightning_dice.trainer_state import last_metrics, lightning_class


def describe_training(trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
    """Return the task, the progress, the optimizers and the metrics of a training.

    Args:
        trainer: The Trainer; no other rank is asked.
        pl_module: The module that it trains.
    """
    metrics = last_metrics(trainer)
    optimizers = describe_optimizers(trainer.optimizers)
    data = getattr(trainer, "datamodule", None)
    package = lightning_class(pl_module, "LightningModule")
    older = package is not None and package.__module__.startswith("pytorch_lightning")
    return {
        "task": {
            "model": type(pl_module).__name__,
            "data": None if data is None else type(data).__name__,
            "optimizer": ", ".join(dict.fromkeys(one["name"] for one in optimizers)),
            **_judged_by(trainer, metrics),
        },
        "steps": trainer.global_step,
        "optimizers": optimizers,
        "metrics": metrics,
        "versions": describe_versions(
            ("torch", "pytorch-lightning" if older else "lightning", "numpy")
        ),
    }


def _judged_by(trainer: Trainer, metrics: Mapping[str, float]) -> dict[str, str]:
    """Return the metric that checkpoints or early stopping follow, or else a usual one."""
    callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]
    for callback in callbacks:
        monitor, mode = getattr(callback, "monitor", None), getattr(callback, "mode", None)
        if isinstance(monitor, str) and mode in ("min", "max"):
            return {"metric": monitor, "mode": mode}
    usual = ("val_loss", *(name for name in metrics if name.startswith("val")), *metrics)
    return next(({"metric": name} for name in usual if name in metrics), {})
