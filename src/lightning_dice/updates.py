"""What a roll does to an update: w <- w + s x (the optimizer's own step), for any optimizer.

Scaling an update is not scaling a gradient: Adam and its kin divide a gradient by its own size, so
that a gradient scaled by 0.25 still gives most of the step. Here the optimizer makes the step that
it would have made, with all of its state, and what reaches the weights is s times that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from lightning_dice.gradients import Parts

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

    Example:
        >>> weight = torch.nn.Parameter(torch.ones(1))
        >>> rides_on_learning_rate(torch.optim.AdamW([weight]))
        True
        >>> rides_on_learning_rate(torch.optim.Adafactor([weight]))
        False
    """
    return type(optimizer) in _LINEAR


@contextmanager
def scaled_learning_rates(
    optimizer: Optimizer, rolled: Callable[[], Parts]
) -> Iterator[Callable[[], None]]:
    """For one step of an optimizer that is linear in its learning rate: scale the update.

    The optimizer's own groups are never touched. While it computes, it has others in their place:
    the same settings and parameters, apart by scale, with learning rates times their scale. So
    whatever looks at a learning rate before or after sees the true one, and where the step raises
    there is nothing to repair. What is not to move makes its step like all others and is put back
    afterwards, which holds even where the step is not finite.

    Args:
        optimizer: The optimizer.
        rolled: What was rolled for the step.

    Yields:
        What is to be called once the gradients are there, before they are used.
    """
    groups = optimizer.param_groups
    held: list[tuple[Tensor, Tensor]] = []

    def apply() -> None:
        if optimizer.param_groups is not groups:
            return  # a closure is evaluated again
        scales: dict[Tensor, float] = {}
        for parameters, scale in rolled():
            if not scale:  # a discard, or a scale of 0
                held.extend((p, p.detach().clone()) for p in parameters if p.grad is not None)
            elif scale != 1:
                scales.update(dict.fromkeys(parameters, scale))
        if scales:
            optimizer.param_groups = [part for g in groups for part in _by_scale(g, scales)]

    try:
        yield apply
    finally:
        optimizer.param_groups = groups
    with torch.no_grad():
        for parameter, before in held:
            parameter.copy_(before)


@contextmanager
def scaled_difference(
    parameters: Sequence[Tensor], rolled: Callable[[], Parts]
) -> Iterator[Callable[[], None]]:
    """For one step of any optimizer: scale what it did to the weights.

    The weights are copied before anything of the step has happened, so that this holds for
    optimizers that move them between evaluations of the gradients; the copy lasts for the step.

    Args:
        parameters: Those that may be rolled for.
        rolled: What was rolled for the step, asked when it is through.

    Yields:
        What is to be called once the gradients are there: nothing is to be done then.
    """
    befores = {p: p.detach().clone() for p in parameters}
    yield lambda: None
    with torch.no_grad():
        for moved, scale in rolled():
            if not scale:  # a discard, or a scale of 0
                for parameter in moved:
                    parameter.copy_(befores[parameter])
            elif scale != 1 and moved:
                before = [befores[parameter] for parameter in moved]
                torch._foreach_sub_(moved, before)
                torch._foreach_mul_(moved, scale)
                torch._foreach_add_(moved, before)


def _by_scale(group: dict[str, Any], scales: dict[Tensor, float]) -> list[dict[str, Any]]:
    """``group`` as one group for each scale that its parameters have."""
    parts: dict[float, list[Tensor]] = {}
    for parameter in group["params"]:
        parts.setdefault(scales.get(parameter, 1.0), []).append(parameter)
    return [
        {**group, "params": parameters, "lr": group["lr"] if scale == 1 else group["lr"] * scale}
        for scale, parameters in parts.items()
    ]
