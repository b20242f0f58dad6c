"""What a landscape is, before it is drawn: plain arrays and names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from lightning_dice.analysis.landscape.moves import Move
from lightning_dice.analysis.readers import Floats, Ints


@dataclass(frozen=True)
class Member:
    """A run.

    Attributes:
        label: How pictures call it.
        path: Its folder, as the page names it.
    """

    label: str
    path: str


@dataclass(frozen=True, eq=False)
class Slice:
    """The loss around one run's weights, along two random directions.

    Attributes:
        label: The run's.
        axis: Coordinates along either direction, in lengths of the weights, shape ``(G,)``.
        losses: Shape ``(G, G)``: rows along the second direction, columns along the first.
    """

    label: str
    axis: Floats
    losses: Floats

    @property
    def line(self) -> Floats:
        """The losses along the first direction alone, shape ``(G,)``."""
        middle: Floats = self.losses[len(self.axis) // 2]
        return middle

    @property
    def centre(self) -> float:
        """The loss of the run's own weights."""
        return float(self.line[len(self.axis) // 2])


@dataclass(frozen=True, eq=False)
class Path:
    """The way that one run's weights took.

    Attributes:
        label: The run's.
        steps: Optimizer steps made before each point, ascending, shape ``(P,)``.
        at: Where each is on the plane, shape ``(P, 2)``.
        losses: The loss of the weights themselves, shape ``(P,)``.
        on_plane: The loss right below or above them, on the plane, shape ``(P,)``.
        distance: How far from the plane they are, shape ``(P,)``.
        moves: What was rolled on the way to each; empty for a run without dice.
    """

    label: str
    steps: Ints
    at: Floats
    losses: Floats
    on_plane: Floats
    distance: Floats
    moves: tuple[Move, ...]


@dataclass(frozen=True, eq=False)
class Plane:
    """The loss on the plane that comes closest to some runs' paths.

    Attributes:
        label: Of the run whose last weights it goes through, at (0, 0).
        first: Coordinates along the first direction, shape ``(G,)``.
        second: Along the second, shape ``(G,)``.
        losses: Shape ``(G, G)``: rows along the second direction, columns along the first.
        explained: Which share of the paths' squared distances from (0, 0) lies along each.
        paths: Those that are drawn on it.
    """

    label: str
    first: Floats
    second: Floats
    losses: Floats
    explained: tuple[float, float]
    paths: tuple[Path, ...]

    @property
    def farthest(self) -> float:
        """The distance of a path's point from the plane, at most, as a share of the longest way.

        That is the largest distance of any point from (0, 0).
        """
        off = max(float(path.distance.max()) for path in self.paths)
        away = [np.hypot(np.hypot(*path.at.T), path.distance).max() for path in self.paths]
        return off / max(map(float, away))


@dataclass(frozen=True, eq=False)
class Line:
    """The loss on the straight line between two runs' weights.

    Attributes:
        start: The label of the run at 0.
        end: Of the one at 1.
        at: From 0 to 1, shape ``(T,)``.
        losses: Shape ``(T,)``.
        accuracy: The share right, shape ``(T,)``; ``None`` where that is not what is measured.
    """

    start: str
    end: str
    at: Floats
    losses: Floats
    accuracy: Floats | None = None

    @property
    def heights(self) -> Floats:
        """How far the loss lies above the mean of both ends', weighted by nearness."""
        start, end = self.losses[0], self.losses[-1]
        with np.errstate(invalid="ignore"):  # of an end that is not finite
            heights: Floats = self.losses - ((1 - self.at) * start + self.at * end)
        return heights

    @property
    def barrier(self) -> float:
        """The largest height, 0 or more; NaN where a loss is not finite.

        The error barrier of Frankle et al. 2020 (arXiv 1912.05671), with the loss for the error.
        """
        return float(self.heights.max())


@dataclass(frozen=True, eq=False)
class Landscape:
    """All that is drawn.

    Attributes:
        members: The runs, the first one first.
        examples: How many examples the loss is the mean over.
        slices: One a run.
        plane: ``None`` where no path can be drawn.
        lines: From the first run to each other one.
        omissions: What could not be drawn, and why, a sentence each.
        notes: What there is to know before it is read, a sentence each.
        settings: What was asked for.
    """

    members: tuple[Member, ...]
    examples: int
    slices: tuple[Slice, ...]
    plane: Plane | None
    lines: tuple[Line, ...]
    omissions: tuple[str, ...]
    notes: tuple[str, ...]
    settings: Mapping[str, Any]
