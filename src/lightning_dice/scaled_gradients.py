"""One step of an optimizer that sees scaled gradients, or none where they are discarded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from lightning_dice.gradients import Parts, scale_gradients


class Discarded(Exception):  # noqa: N818 - no error: it leaves a step out
    """Nothing is left of a step; ``result`` is what its closure returned."""

    result: Any = None


class ScaledGradients:
    """Scales the gradients that a step sees.

    The optimizers of torch pass over a parameter without a gradient, and keep all state with their
    parameters, so that to take gradients away is a discard. Others may count steps, or mix
    parameters, as LBFGS does: there the step is not made at all if nothing is left of it, and a
    parameter that is discarded among others is put back.

    Args:
        optimizer: The optimizer.
        rolled: What was rolled for the step, asked once the gradients are there.
        known: What was rolled, if that is known before the step.
    """

    def __init__(
        self, optimizer: Optimizer, rolled: Callable[[], Parts], known: Parts | None
    ) -> None:
        self._rolled = rolled
        kind = type(optimizer)
        apart = kind.__module__.startswith("torch.optim.") and kind is not torch.optim.LBFGS
        self._all = [] if apart else [p for g in optimizer.param_groups for p in g["params"]]
        self._versions = [p._version for p in self._all]
        # Some move the weights, evaluate gradients there, and move them back by what these are.
        self._held = _copies(known or []) if self._all else []

    def apply(self) -> None:
        """Scale the gradients, after every evaluation of them."""
        parts = self._rolled()
        scale_gradients(parts)
        if not self._all or all(scale is not None for _, scale in parts):
            return
        unmoved = [p._version for p in self._all] == self._versions
        if unmoved and all(p.grad is None for p in self._all):
            raise Discarded
        if not self._held:
            self._held = _copies(parts)

    def finish(self) -> None:
        """Put back what is discarded and has been moved."""
        with torch.no_grad():
            for parameter, before in self._held:
                parameter.copy_(before)

    def release(self) -> None:
        """Nothing: the copies go with this object."""


def _copies(parts: Parts) -> list[tuple[Tensor, Tensor]]:
    """What is discarded, and what it is now."""
    discarded = (p for parameters, scale in parts if scale is None for p in parameters)
    return [(p, p.detach().clone()) for p in discarded]
