"""One scale of losses for all that is compared: logarithmic where they span decades."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from matplotlib.colors import LogNorm, Normalize

from lightning_dice.analysis.readers import Floats

DECADES = 1.5
"""From how many on a scale is logarithmic."""
LEVELS = 14


class Scale(NamedTuple):
    """How losses become colours and heights.

    Attributes:
        low: The lowest finite loss.
        high: The highest.
        log: Whether the scale is logarithmic.

    Example:
        >>> Scale.of(np.array([1.0, np.inf]), np.array([np.nan, 2.0]))
        Scale(low=1.0, high=2.0, log=False)
        >>> Scale.of(np.array([0.01, 100.0])).log
        True
    """

    low: float
    high: float
    log: bool

    @classmethod
    def of(cls, *losses: Floats) -> Scale:
        """The scale for all of them; from 0 to 1 where none is finite."""
        every = np.concatenate([part.ravel() for part in losses])
        finite = every[np.isfinite(every)]
        if not len(finite):
            return cls(0.0, 1.0, log=False)
        low, high = float(finite.min()), float(finite.max())
        log = low > 0 and np.log10(high / low) >= DECADES
        return cls(low, high, bool(log))

    @property
    def name(self) -> str:
        """What it is called on an axis."""
        return "linear" if not self.log else "log"

    def levels(self) -> Floats:
        """Where contours lie."""
        high = self.high if self.high > self.low else self.low + 1
        if self.log:
            levels: Floats = np.geomspace(self.low, high, LEVELS)
        else:
            levels = np.linspace(self.low, high, LEVELS)
        levels[0], levels[-1] = self.low, high  # rounding would leave holes at the ends
        return levels

    def norm(self) -> Normalize:
        """For colours."""
        levels = self.levels()
        kind = LogNorm if self.log else Normalize
        return kind(float(levels[0]), float(levels[-1]))


def off_chart(losses: Floats) -> int:
    """How many losses are not finite, and so on no chart."""
    return int(np.count_nonzero(~np.isfinite(losses)))
