"""Noise on the weights, as large a part of each filter as asked for."""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_dice.probes.calibration import mean_and_error, score
from lightning_dice.probes.directions import random_direction
from lightning_dice.probes.objective import Objective

SIGMAS = (0.05, 0.1, 0.2, 0.3, 0.5)
DRAWS = 5


def disturbed(objective: Objective, sigma: float, seed: int) -> Tensor:
    """The weights with Gaussian noise whose norm is ``sigma`` times the norm of each filter.

    Vectors are filters, too. A seed gives the same noise for every ``sigma`` but for its size.

    Args:
        objective: Whose weights they are.
        sigma: Relative size of the noise.
        seed: Of the noise.

    Returns:
        Shape ``(N,)``.
    """
    generator = torch.Generator().manual_seed(seed)
    weights = objective.weights
    noise = random_direction(objective.layout, weights, generator, vectors=True)
    return weights + sigma * noise


def weight_noise(
    objective: Objective, sigma: float, *, draws: int = DRAWS, seed: int = 0
) -> dict[str, tuple[float, float]]:
    """What a model is worth under noise on its weights.

    Args:
        objective: The model, which predicts classes, and its data.
        sigma: Norm of a filter's noise over the filter's norm.
        draws: How often noise is drawn.
        seed: Of the first draw; the others follow.

    Returns:
        ``loss`` and ``accuracy``: the mean over the draws, and its standard error.
    """
    points = [disturbed(objective, sigma, seed + draw) for draw in range(draws)]
    scores = [score(*objective.predictions(point)) for point in points]
    return {name: mean_and_error([one[name] for one in scores]) for name in scores[0]}
