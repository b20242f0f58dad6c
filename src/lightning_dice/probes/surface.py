"""The loss at many points: on a line, on a plane, or one by one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from lightning_dice.probes.objective import Objective

MOST_AT_ONCE = 64
_CHUNK = 8
"""Points that are made together where they are computed one by one."""


class Points(NamedTuple):
    """Centre + coordinates x directions; they are made some at a time, never all at once.

    Attributes:
        centre: Shape ``(N,)``.
        directions: Shape ``(D, N)``.
        coordinates: Of each point along each direction, shape ``(K, D)``, float64.

    Example:
        >>> line = Points(torch.zeros(2), torch.tensor([[3.0, 4.0]]), torch.tensor([[0.0], [0.5]]))
        >>> line.between(0, 2)
        tensor([[0.0000, 0.0000],
                [1.5000, 2.0000]])
    """

    centre: Tensor
    directions: Tensor
    coordinates: Tensor

    @classmethod
    def on_grid(cls, centre: Tensor, directions: Tensor, *axes: Tensor) -> Points:
        """Every combination of coordinates, the last axis fastest."""
        return cls(centre, directions, torch.cartesian_prod(*axes).reshape(-1, len(axes)))

    def between(self, start: int, stop: int) -> Tensor:
        """Points ``start`` to below ``stop``, one a row."""
        chosen = self.coordinates[start:stop].to(self.centre)
        return self.centre + chosen @ self.directions


def losses_along(
    objective: Objective, points: Points, done: int = 0, at_once: int = 1
) -> Iterator[Tensor]:
    """The losses at points, some at a time.

    Args:
        objective: What is computed.
        points: Where.
        done: How many are known already, and left out.
        at_once: As for ``Objective.losses``.

    Yields:
        The next losses, on the CPU.
    """
    chunk = max(at_once, _CHUNK)
    for start in range(done, len(points.coordinates), chunk):
        yield objective.losses(points.between(start, start + chunk), at_once).cpu()


def losses_at(objective: Objective, points: Sequence[Tensor]) -> Tensor:
    """The losses at points ``(N,)`` of any precision, one by one: shape ``(K,)``, on the CPU."""
    return torch.stack([objective.loss(point.to(objective.weights)).cpu() for point in points])


def fitting(objective: Objective) -> int:
    """How many points are worth computing at once on the objective's device.

    One on a CPU. On a GPU as many as half of the free memory holds, by what one of them takes.
    """
    device = objective.weights.device
    if device.type != "cuda":
        return 1
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    objective.loss(objective.weights)
    one = torch.cuda.max_memory_allocated(device) - before
    own = objective.weights.numel() * objective.weights.element_size()
    free, _ = torch.cuda.mem_get_info(device)
    return how_many(free, one + 2 * own)


def how_many(free: int, each: int) -> int:
    """How many of ``each`` bytes half of ``free`` bytes hold, 1 to ``MOST_AT_ONCE``.

    Example:
        >>> how_many(1000, 100), how_many(10, 100), how_many(10**9, 1)
        (5, 1, 64)
    """
    return min(MOST_AT_ONCE, max(1, free // 2 // max(each, 1)))
