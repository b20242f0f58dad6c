"""The plane that comes closest to a set of points in the space of weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

_COLUMNS = 1 << 16
"""Weights that are looked at together: points stay in float16, and in files, until they are."""
_FLAT = 1e-12
"""A share of the squared distances that rounding alone may leave."""


class Plane(NamedTuple):
    """A plane through a centre.

    Attributes:
        directions: Two, orthonormal, shape ``(2, N)``.
        at: Where the points are on it, shape ``(P, 2)``.
        distance: How far they lie from it, shape ``(P,)``.
        explained: Which share of the points' squared distances from the centre lies along each
            direction, shape ``(2,)``.
    """

    directions: Tensor
    at: Tensor
    distance: Tensor
    explained: Tensor


def principal_plane(points: Sequence[Tensor], centre: Tensor) -> Plane:
    """The plane through ``centre`` with the least squared distance from the points.

    Principal components of the points, taken about the centre instead of their mean. They are read
    off the points' products with each other, as there are far fewer points than weights.

    Args:
        points: Of shape ``(N,)``, on the CPU, of any precision.
        centre: Shape ``(N,)``, on the CPU.

    Raises:
        ArithmeticError: If the points lie on a line through the centre.

    Example:
        >>> corners = [torch.tensor([3.0, 0.0, 4.0]), torch.tensor([-3.0, 1.0, -4.0])]
        >>> principal_plane(corners, torch.zeros(3)).distance
        tensor([0., 0.], dtype=torch.float64)
    """
    products = torch.zeros(len(points), len(points), dtype=torch.float64)
    for offsets in _offsets(points, centre):
        products += offsets @ offsets.T
    squares, vectors = torch.linalg.eigh(products)
    squares, vectors = squares.flip(0).clamp_min(0), vectors.flip(1)
    if len(points) < 2 or not squares[1] > _FLAT * squares.sum():
        raise ArithmeticError("the points lie on one line through the centre")
    at = vectors[:, :2] * squares[:2].sqrt()
    signs = torch.where(at[0] < 0, -1.0, 1.0)  # a component has none; the first point gives it one
    at = at * signs
    weights = at / squares[:2]
    directions = [weights.T @ offsets for offsets in _offsets(points, centre)]
    distance = (products.diagonal() - at.square().sum(1)).clamp_min(0).sqrt()
    # What rounding leaves of a distance is none.
    distance[distance.square() < _FLAT * squares.sum()] = 0
    return Plane(
        torch.cat(directions, dim=1).to(centre.dtype),
        at,
        distance,
        squares[:2] / squares.sum(),
    )


def _offsets(points: Sequence[Tensor], centre: Tensor) -> Iterator[Tensor]:
    """Points minus centre, ``(P, columns)``, some columns at a time."""
    for start in range(0, len(centre), _COLUMNS):
        part = slice(start, start + _COLUMNS)
        yield torch.stack([point[part].double() for point in points]) - centre[part].double()
