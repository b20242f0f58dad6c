"""What every task's data shares."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from typing import Any, ClassVar, NamedTuple

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate
from typing_extensions import override

from lightning_dice.app.data.order import ResumableLoader, ResumableSampler
from lightning_dice.rules import SettingError

Batch = tuple[Tensor, Tensor]


class Baseline(NamedTuple):
    """What a trivial model reaches on the same validation data.

    Attributes:
        name: The trivial model.
        value: Its value of the task's metric.
    """

    name: str
    value: float


class TaskData(LightningDataModule, ABC):
    """Training and validation sets, loaded in ``setup``.

    Args:
        batch_size: Examples in a mini-batch, on each device.
        val_fraction: Share of the examples held out, between 0 and 1.
        label_noise: Share of the labels to train on that are wrong, 0 to 1; those held out are
            right.
    """

    kind: ClassVar[str]
    """What one example is: models say which kind they take."""

    def __init__(self, batch_size: int, val_fraction: float, label_noise: float) -> None:
        super().__init__()
        if batch_size < 1:
            raise SettingError("data.batch_size", batch_size, "expected 1 or more")
        if not 0 < val_fraction < 1:
            raise SettingError("data.val_fraction", val_fraction, "expected between 0 and 1")
        if not 0 <= label_noise <= 1:
            raise SettingError("data.label_noise", label_noise, "expected a share from 0 to 1")
        self.batch_size = batch_size
        self.val_fraction = val_fraction
        self.label_noise = label_noise

    @abstractmethod
    def split(self) -> tuple[Dataset[Batch], Dataset[Batch]]:
        """The training and the validation set."""

    @abstractmethod
    def baseline(self) -> Baseline:
        """The baseline of this data, computed from it."""

    def collate(self, examples: list[Batch]) -> Any:
        """Examples as one batch."""
        return default_collate(examples)

    @override
    def setup(self, stage: str) -> None:
        if not hasattr(self, "train"):
            self.train, self.val = self.split()

    @override
    def train_dataloader(self) -> DataLoader[Batch]:
        seed = int(os.environ.get("PL_GLOBAL_SEED", 0))
        order = ResumableSampler(self.train, self.batch_size, self.trainer, seed)
        return ResumableLoader(
            self.train, self.batch_size, sampler=order, drop_last=True, collate_fn=self.collate
        )

    @override
    def val_dataloader(self) -> DataLoader[Batch]:
        # Order does not matter to a mean, so larger batches are free.
        return ResumableLoader(self.val, 4 * self.batch_size, collate_fn=self.collate)


def random_split(examples: int, val_fraction: float, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Indices of a training and a validation set, the same on every run.

    Example:
        >>> train, val = random_split(10, 0.2)
        >>> len(train), len(val), sorted((*train.tolist(), *val.tolist())) == list(range(10))
        (8, 2, True)
    """
    order = torch.randperm(examples, generator=torch.Generator().manual_seed(seed))
    held_out = max(1, round(val_fraction * examples))
    return order[held_out:], order[:held_out]
