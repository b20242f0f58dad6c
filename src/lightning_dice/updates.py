"""What a roll does to an update: w <- w + s x (the optimizer's own step), for any optimizer.

Scaling an update is not scaling a gradient: Adam and its kin divide a gradient by its own size, so
that a gradient scaled by 0.25 still gives most of the step. Here the optimizer makes the step that
it would have made, with all of its state, and what reaches the weights is s times that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from lightning_dice.gradients import Parts
from lightning_dice.intercept import untraced

# Their step is lr x (something that does not depend on lr), decoupled weight decay included, and
# so is no state of theirs: read in their source, and held by a test for each. Not so ASGD, Rprop,
# Adafactor and LBFGS, whose step or state depends on lr in other ways. A class that derives from
# one of these may do anything, so only the class itself counts.
_LINEAR = {
    getattr(torch.optim, name)
    for name in (
        "Adadelta",
        "Adagrad",
        "Adam",
        "AdamW",
        "Adamax",
        "Muon",
        "NAdam",
        "RAdam",
        "RMSprop",
        "SGD",
        "SparseAdam",
    )
    if hasattr(torch.optim, name)  # Muon came with torch 2.9
}


def rides_on_learning_rate(optimizer: Optimizer) -> bool:
    """Whether the step of ``optimizer`` is known to be linear in its learning rate.

    Not where it keeps step sizes in float32 tensors and parameters in float64.

    Example:
        >>> weight = torch.nn.Parameter(torch.ones(1))
        >>> rides_on_learning_rate(torch.optim.AdamW([weight]))
        True
        >>> rides_on_learning_rate(torch.optim.Adafactor([weight]))
        False
    """
    return type(optimizer) in _LINEAR and not any(
        (group.get("capturable") or isinstance(group["lr"], Tensor))
        and any(parameter.dtype.itemsize > 4 for parameter in group["params"])
        for group in optimizer.param_groups
    )


class ScaledLearningRates:
    """One step of an optimizer that is linear in its learning rate, scaled by it.

    The optimizer's own groups are never touched. While it computes, it has others in their place:
    the same settings and parameters, apart by scale, with learning rates times their scale. So
    whatever looks at a learning rate before or after sees the true one, and where the step raises
    there is nothing to repair. What is not to move makes its step like all others and is put back
    afterwards, which holds even where the step is not finite.

    Args:
        optimizer: The optimizer.
        rolled: What was rolled for the step, asked once the gradients are there.
    """

    def __init__(self, optimizer: Optimizer, rolled: Callable[[], Parts]) -> None:
        self._optimizer = optimizer
        self._rolled = rolled
        self._groups: list[dict[str, Any]] | None = None  # the optimizer's own, while it has others
        self._held: list[tuple[Tensor, Tensor]] = []
        self._applied = False

    @untraced
    def apply(self) -> None:
        """Put the scaled groups in place."""
        if self._applied:
            return  # a closure is evaluated again
        self._applied = True
        scales: dict[Tensor, float] = {}
        for parameters, scale in self._rolled():
            if not scale:  # a discard, or a scale of 0
                moving = (p for p in parameters if p.grad is not None)
                self._held += [(p, p.detach().clone()) for p in moving]
            elif scale != 1:
                scales.update(dict.fromkeys(parameters, scale))
        if scales:
            self._groups = groups = self._optimizer.param_groups
            self._optimizer.param_groups = [p for g in groups for p in _by_scale(g, scales)]

    def finish(self) -> None:
        """Put the optimizer's own groups back, and what is not to move."""
        self.release()
        with torch.no_grad():
            for parameter, before in self._held:
                parameter.copy_(before)

    def release(self) -> None:
        """Put the optimizer's own groups back."""
        if self._groups is not None:
            self._optimizer.param_groups, self._groups = self._groups, None


class ScaledDifference:
    """One step of any optimizer: what it did to the weights is scaled.

    The weights are copied before anything of the step has happened, so that this holds for
    optimizers that move them between evaluations of the gradients; the copy lasts for the step.

    Args:
        parameters: Those that may be rolled for.
        rolled: What was rolled for the step, asked when it is through.
    """

    def __init__(self, parameters: Sequence[Tensor], rolled: Callable[[], Parts]) -> None:
        self._rolled = rolled
        # What is frozen may be anything: integers, or a mask of infinities.
        moving = (p for p in parameters if p.requires_grad or p.grad is not None)
        self._before = {p: p.detach().clone() for p in moving}

    def apply(self) -> None:
        """Nothing: the step is made in full."""

    def finish(self) -> None:
        """Scale what the step did."""
        moved: list[Tensor] = []
        scales: list[float] = []
        with torch.no_grad():
            for rolled, scale in self._rolled():
                parameters = [p for p in rolled if p in self._before]
                if not scale:  # a discard, or a scale of 0
                    for parameter in parameters:
                        parameter.copy_(self._before[parameter])
                elif scale != 1:
                    moved += parameters
                    scales += [scale] * len(parameters)
            if moved:
                before = [self._before[p] for p in moved]
                torch._foreach_sub_(moved, before)
                torch._foreach_mul_(moved, scales)
                torch._foreach_add_(moved, before)

    def release(self) -> None:
        """Nothing: the copy goes with this object."""


def _by_scale(group: dict[str, Any], scales: dict[Tensor, float]) -> list[dict[str, Any]]:
    """``group`` as one group for each scale that its parameters have."""
    parts: dict[float, list[Tensor]] = {}
    for parameter in group["params"]:
        parts.setdefault(scales.get(parameter, 1.0), []).append(parameter)
    return [
        {**group, "params": parameters, "lr": group["lr"] if scale == 1 else group["lr"] * scale}
        for scale, parameters in parts.items()
    ]
