"""Random directions in the space of weights, as long as the weights are, filter by filter."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from lightning_dice.probes.weights import Layout


def filter_norms(layout: Layout, weights: Tensor) -> Tensor:
    """Each weight's filter's L2 norm.

    A filter is what makes one output: a row (along the first dimension) of a tensor of two or more
    dimensions. A vector, such as a bias, is one filter.

    Args:
        layout: Of the weights.
        weights: Shape ``(N,)``.

    Returns:
        Shape ``(N,)``; the same number for all weights of a filter.

    Example:
        >>> layout = Layout(("weight", "bias"), ((2, 2), (2,)))
        >>> filter_norms(layout, torch.tensor([3.0, 4.0, 0.0, 2.0, 6.0, 8.0]))
        tensor([ 5.,  5.,  2.,  2., 10., 10.])
    """
    norms = [
        torch.linalg.vector_norm(rows, dim=1, keepdim=True).expand_as(rows).reshape(-1)
        for rows in _filters(layout, weights)
    ]
    return torch.cat(norms)


def random_direction(
    layout: Layout, weights: Tensor, generator: Generator, *, vectors: bool = False
) -> Tensor:
    """A Gaussian direction in which every filter has the norm of the weights' filter.

    Filter normalisation of Li et al. 2018 (arXiv 1712.09913): without it a direction would say more
    about the weights' scale than about the loss.

    Args:
        layout: Of the weights.
        weights: Shape ``(N,)``.
        generator: On the CPU, so that a GPU is given the same direction.
        vectors: Whether biases and gains move as well; they stay where they are in the paper.

    Returns:
        Shape ``(N,)``, like the weights.
    """
    noise = torch.randn(layout.size, generator=generator, dtype=weights.dtype).to(weights.device)
    lengths = filter_norms(layout, noise)
    # A filter whose noise is all zero is as good as impossible, and stays at zero.
    direction = noise * filter_norms(layout, weights) / lengths.clamp_min(1e-30)
    return direction if vectors else direction * matrices(layout).to(weights.device)


def matrices(layout: Layout) -> Tensor:
    """Which weights belong to a tensor of two or more dimensions: booleans ``(N,)``."""
    parts = [
        torch.full((size,), len(shape) >= 2)
        for size, shape in zip(layout.sizes, layout.shapes, strict=True)
    ]
    return torch.cat(parts)


def _filters(layout: Layout, weights: Tensor) -> list[Tensor]:
    parts = torch.split(weights, [*layout.sizes])
    return [
        part.view(shape[0] if len(shape) >= 2 else 1, -1)
        for part, shape in zip(parts, layout.shapes, strict=True)
    ]
