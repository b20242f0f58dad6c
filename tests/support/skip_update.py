"""SkipUpdate (arXiv:2602.15322) as a plain loop, written from its description.

The base optimizer takes in every gradient, so that its moments are dense. Then each block keeps its
update with chance p, and a kept one is multiplied by s = 1/p: theta <- theta - s m delta. A block
is one weight tensor. Optimizers and update are written out here, in float64; only the gradients are
torch's. The masks are given, already multiplied by s, so that they may also be other factors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

Moments = dict[str, Tensor]
Base = Callable[[Tensor, Tensor, Moments, int], Tensor]
"""From weights, gradient, moments (changed in place) and the step's number, from 1: delta."""


def adamw(
    lr: float, betas: tuple[float, float], eps: float = 1e-8, weight_decay: float = 0.0
) -> Base:
    """Adam, whose weight decay is decoupled and a part of delta."""
    first, second = betas

    def delta(theta: Tensor, gradient: Tensor, moments: Moments, step: int) -> Tensor:
        zero = torch.zeros_like(theta)
        moments["mean"] = first * moments.get("mean", zero) + (1 - first) * gradient
        moments["square"] = second * moments.get("square", zero) + (1 - second) * gradient**2
        mean = moments["mean"] / (1 - first**step)
        square = moments["square"] / (1 - second**step)
        return lr * (mean / (square.sqrt() + eps) + weight_decay * theta)

    return delta


def rmsprop(lr: float, alpha: float, eps: float = 1e-8) -> Base:
    """RMSprop without weight decay."""

    def delta(theta: Tensor, gradient: Tensor, moments: Moments, step: int) -> Tensor:
        square = moments.get("square", torch.zeros_like(theta))
        moments["square"] = alpha * square + (1 - alpha) * gradient**2
        return lr * gradient / (moments["square"].sqrt() + eps)

    return delta


def skip_update(
    net: nn.Module,
    loss_of: Callable[[nn.Module, Any], Tensor],
    batches: Iterable[Any],
    base: Base,
    factors: Mapping[str, Sequence[float]],
) -> dict[str, Moments]:
    """Train ``net`` in place, one step a batch.

    Args:
        net: A network in float64.
        loss_of: The loss of a network on a batch.
        batches: What it is trained on.
        base: The optimizer whose updates are skipped.
        factors: For each block, by parameter name, s m of every step; what is not named is dense.

    Returns:
        The moments of each parameter, by name.
    """
    moments: dict[str, Moments] = {name: {} for name, _ in net.named_parameters()}
    for step, batch in enumerate(batches):
        names, thetas = zip(*net.named_parameters(), strict=True)
        gradients = torch.autograd.grad(loss_of(net, batch), thetas)
        with torch.no_grad():
            for name, theta, gradient in zip(names, thetas, gradients, strict=True):
                factor = factors[name][step] if name in factors else 1.0
                theta.sub_(factor * base(theta, gradient, moments[name], step + 1))
    return moments
