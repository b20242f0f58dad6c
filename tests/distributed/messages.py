"""How many messages the process groups send between the first mini-batch and the last."""

from __future__ import annotations

import torch.distributed as dist
from lightning.pytorch import Callback


def sent() -> int:
    """Collectives so far, of every group, those that DDP's own C++ sends among them."""
    groups = dist.distributed_c10d._world.pg_map
    return sum(group._get_sequence_number_for_group() for group in groups)


class Messages(Callback):
    """Counts from the start of the first mini-batch to the end of each."""

    def __init__(self) -> None:
        self.counts: list[int] = []
        self._before: int | None = None

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if self._before is None:
            self._before = sent()

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.counts.append(sent() - self._before)
