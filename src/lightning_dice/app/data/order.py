"""The order of examples: a function of seed and epoch, so that a resumed run has it back."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

import torch
from lightning.pytorch import Trainer
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, DistributedSampler
from typing_extensions import override


class ResumableSampler(DistributedSampler[Any]):
    """Shuffles by (seed, epoch), and begins where the epoch was interrupted.

    Args:
        dataset: What is drawn from.
        batch_size: Examples in a mini-batch of one process.
        trainer: Says how far the epoch is, and which process this is. Lightning tells the sampler
            the epoch.
        seed: Decides the orders.
    """

    def __init__(
        self, dataset: Dataset[Any], batch_size: int, trainer: Trainer | None, seed: int
    ) -> None:
        strategy = None if trainer is None else trainer.strategy
        share = getattr(strategy, "distributed_sampler_kwargs", {"num_replicas": 1, "rank": 0})
        super().__init__(dataset, **share, shuffle=True, seed=seed, drop_last=True)
        self._batch_size = batch_size
        self._trainer = trainer

    @override
    def __iter__(self) -> Iterator[Any]:
        done = 0
        if self._trainer is not None and self._trainer.training:
            done = self._trainer.fit_loop.epoch_loop.batch_progress.current.ready
        return islice(super().__iter__(), done * self._batch_size, None)


class ResumableLoader(DataLoader[Any]):
    """A loader whose order is its sampler's, and which leaves the global random state alone.

    It has no state to keep. The methods say so to Lightning, which warns of loaders that have none.
    """

    def __init__(self, dataset: Dataset[Any], batch_size: int, **kwargs: Any) -> None:
        # Otherwise each epoch, and each validation, would draw a seed for workers from the global
        # state, and dropout after a resume would differ.
        kwargs.setdefault("generator", torch.Generator())
        super().__init__(dataset, batch_size, **kwargs)

    def state_dict(self) -> dict[str, Tensor]:
        """Nothing: the position is the Trainer's."""
        return {}

    def load_state_dict(self, state_dict: dict[str, Tensor]) -> None:
        """Nothing to do."""
