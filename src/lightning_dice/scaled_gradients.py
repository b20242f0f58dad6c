"""One step of an optimizer that sees scaled gradients, or none where they are discarded."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.optim import Optimizer

from lightning_dice.gradients import Parts, scale_gradients
from lightning_dice.held import Held


def keeps_apart(optimizer: Optimizer) -> bool:
    """Return whether a parameter without a gradient is known to be left alone, with its state.

    So it is in the optimizers of torch, but for LBFGS, which mixes parameters. A class that derives
    from one of them may do anything.
    """
    kind = type(optimizer)
    return kind.__module__.startswith("torch.optim.") and kind is not torch.optim.LBFGS


class ScaledGradients:
    """Scales the gradients that a step sees, and takes away those that are discarded.

    Where that alone does not leave a parameter as it was, it is put back after the step, with the
    optimizer's state of it.

    Args:
        optimizer: The optimizer.
        rolled: What was rolled for the step, asked once the gradients are there.
        known: What was rolled, if that is known before the step.
    """

    def __init__(
        self, optimizer: Optimizer, rolled: Callable[[], Parts], known: Parts | None
    ) -> None:
        self._optimizer = optimizer
        self._rolled = rolled
        self._apart = keeps_apart(optimizer)
        # Some move the weights, evaluate gradients there, and move them back by what these are.
        self._held = self._hold(known or [])

    def apply(self) -> None:
        """Scale the gradients, after every evaluation of them."""
        parts = self._rolled()
        scale_gradients(parts)
        self._held = self._held or self._hold(parts)

    def finish(self) -> None:
        """Put back what is discarded and has been moved."""
        if self._held is not None:
            self._held.restore()

    def release(self) -> None:
        """Nothing: the copies go with this object."""

    def _hold(self, parts: Parts) -> Held | None:
        if self._apart:
            return None
        discarded = [p for parameters, scale in parts if scale is None for p in parameters]
        return Held(self._optimizer, discarded) if discarded else None
