"""What every task's model shares: optimizer, schedule, and how its metric is read."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any, ClassVar, Literal, NamedTuple

from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR
from typing_extensions import override

from lightning_dice.app.optimizers import OptimizerFactory, parameter_groups
from lightning_dice.rules import SettingError


class Metric(NamedTuple):
    """The number that a task is judged by.

    Attributes:
        name: Its name among the logged metrics.
        unit: What it is measured in.
        mode: Whether less or more is better.
    """

    name: str
    unit: str
    mode: Literal["min", "max"]


class TaskModel(LightningModule, ABC):
    """A network, its optimizer, and a cosine schedule with warm-up.

    Args:
        network: What is trained.
        optimizer: Makes the optimizer from parameter groups.
        warmup: Share of all steps over which the learning rate rises, 0 to below 1.
    """

    kind: ClassVar[str]
    """Which kind of data it takes."""
    metric: ClassVar[Metric]
    packages: ClassVar[tuple[str, ...]] = ()
    """What it needs beside what all runs need; their versions are on record."""

    def __init__(self, network: nn.Module, optimizer: OptimizerFactory, warmup: float) -> None:
        super().__init__()
        if not 0 <= warmup < 1:
            raise SettingError("model.warmup", warmup, "expected a share from 0 to below 1")
        self.network = network
        self.optimizer_factory = optimizer
        self.warmup = warmup

    @abstractmethod
    def predict(self, batch: Any) -> tuple[Tensor, Tensor]:
        """Logits ``(N, C)`` and labels ``(N,)`` of a batch."""

    @override
    def configure_optimizers(self) -> OptimizerLRScheduler:
        optimizer = self.optimizer_factory(parameter_groups(self, self.optimizer_factory))
        total = int(self.trainer.estimated_stepping_batches)
        schedule = LambdaLR(optimizer, lambda step: warmup_cosine(step, total, self.warmup))
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }


def warmup_cosine(step: int, total: int, warmup: float) -> float:
    """The factor on the learning rate: a linear rise, then half a cosine down to 0.

    Args:
        step: Steps taken, 0 to ``total``.
        total: Steps in all.
        warmup: Share of them over which the factor rises.

    Example:
        >>> [round(warmup_cosine(step, 10, 0.2), 2) for step in (0, 1, 2, 6, 10)]
        [0.5, 1.0, 1.0, 0.5, 0.0]
    """
    rise = round(warmup * total)
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - rise) / max(1, total - rise))))
