"""The worst that a small step of the weights can do to the loss."""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_dice.probes.objective import Objective

SAM_RADII = (0.01, 0.02, 0.05, 0.1, 0.2)
"""Around 0.05, the radius that Foret et al. train with."""
ADAPTIVE_RADII = (0.1, 0.2, 0.5, 1.0, 2.0)
"""Around 0.5, the radius that Kwon et al. train with."""
STEPS = 10


def sam_step(gradient: Tensor, scale: Tensor, radius: float) -> Tensor:
    """The step that raises a linear loss most.

    With ``scale`` 1 it is SAM's ``radius * g / |g|`` (Foret et al. 2021, arXiv 2010.01412); with
    ``scale`` |w| it is ASAM's ``radius * w^2 g / |w g|`` (Kwon et al. 2021, arXiv 2102.11600).

    Args:
        gradient: Shape ``(N,)``.
        scale: What each weight's step is measured in, shape ``(N,)``.
        radius: Of the ball, in units of ``scale``.

    Returns:
        Shape ``(N,)``; zeros where the gradient is zero.

    Example:
        >>> sam_step(torch.tensor([3.0, 4.0]), torch.ones(2), 0.5)
        tensor([0.3000, 0.4000])
    """
    return radius * scale * _unit(scale * gradient)


def worst_case(
    objective: Objective, radius: float, *, adaptive: bool = False, steps: int = STEPS
) -> float:
    """How far the loss rises within a ball around the weights, as far as ascent finds out.

    Projected gradient ascent, whose first step is that of SAM or ASAM; the best point counts. It
    is a lower bound: the true worst case may be worse.

    Args:
        objective: The loss.
        radius: Of the ball in the L2 norm; in units of each weight's size where ``adaptive``.
        adaptive: Whether the ball is ASAM's, which rescaling a layer does not change.
        steps: How many points are tried, 1 or more.

    Returns:
        The largest loss found, less the loss at the weights.

    Raises:
        ArithmeticError: If a loss on the way is not finite.
    """
    weights = objective.weights
    scale = weights.abs() if adaptive else torch.ones_like(weights)
    start, gradient = objective.gradient(weights)
    at = torch.zeros_like(weights)  # in units of scale
    found = [start]
    for step in range(steps):
        # A whole radius each time: what leaves the ball is put back on its surface.
        at = _within(at + radius * _unit(scale * gradient), radius)
        if step == steps - 1:
            found.append(objective.loss(weights + scale * at))
        else:
            loss, gradient = objective.gradient(weights + scale * at)
            found.append(loss)
    losses = torch.stack(found)
    if not bool(losses.isfinite().all()):
        raise ArithmeticError(f"the loss is not finite within radius {radius:g}")
    return float(losses.max() - start)


def _unit(vector: Tensor) -> Tensor:
    return torch.nn.functional.normalize(vector, dim=0, eps=torch.finfo(vector.dtype).tiny)


def _within(vector: Tensor, radius: float) -> Tensor:
    norm = torch.linalg.vector_norm(vector)
    shorter: Tensor = vector * (radius / norm).clamp(max=1)
    return shorter
