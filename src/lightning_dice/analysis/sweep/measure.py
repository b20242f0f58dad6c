"""The metric that runs are judged by, and how its numbers are written."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from lightning_dice.analysis.phrases import MINUS, NBSP, figures, percent, spoken
from lightning_dice.analysis.readers import Floats
from lightning_dice.analysis.rounding import rounding_error

SHARE = "share right"
"""The unit of an accuracy."""
POINTS = "pp"
LARGE = 1e6
"""From here on a number is written with a power of ten."""


class Measure(NamedTuple):
    """A task's metric.

    Attributes:
        metric: Its name.
        unit: What it is measured in; may be empty.
        mode: ``max`` where more is better, else ``min``.
        from_zero: Whether it is never below 0. ``None`` takes that for granted where less is
            better, as of a loss.

    Example:
        >>> accuracy = Measure("val_accuracy", "share right", "max")
        >>> accuracy.value(0.9712).replace(NBSP, " "), accuracy.gain(-0.01)
        ('97.1 %', -0.01)
        >>> Measure("val_loss", "nats", "min").gain(-0.01)
        0.01
    """

    metric: str
    unit: str
    mode: str
    from_zero: bool | None = None

    @property
    def share(self) -> bool:
        """Whether it is shown in percent."""
        return self.unit == SHARE

    @property
    def spoken(self) -> str:
        """The metric in words."""
        return spoken(self.metric)

    @property
    def better(self) -> str:
        """Which way is better."""
        return "higher" if self.mode == "max" else "lower"

    @property
    def step_unit(self) -> str:
        """The unit of a difference."""
        return POINTS if self.share else self.unit

    def possible(self, values: Floats) -> tuple[float, float]:
        """Return the lowest and the highest value that the metric can have.

        Args:
            values: What was measured of it. One outside of the bounds shows that they are not the
                metric's, and it has none.

        Example:
            >>> Measure("val_accuracy", "share right", "max").possible(np.array([0.98]))
            (0.0, 1.0)
            >>> Measure("val_loss", "nats", "min").possible(np.array([-0.2, 0.1]))
            (-inf, inf)
        """
        from_zero = self.mode == "min" if self.from_zero is None else self.from_zero
        low = 0.0 if from_zero or self.share else -math.inf
        high = 1.0 if self.share else math.inf
        there = values[np.isfinite(values)]
        error = rounding_error(1.0) if self.share else 0.0
        fits = np.all((there >= low - error) & (there <= high + error))
        return (low, high) if fits else (-math.inf, math.inf)

    def gain(self, difference: float) -> float:
        """The difference with a sign such that more is better."""
        return difference if self.mode == "max" else -difference

    def value(self, value: float) -> str:
        """A value with its unit."""
        if self.share and 0 <= value <= 1:
            return percent(value)
        return f"{figures(value)}{f' {self.unit}' if self.unit and not self.share else ''}"

    def span(self, low: float, high: float) -> str:
        """Two values with their unit; one, where they look the same.

        Example:
            >>> Measure("val_loss", "nats", "min").span(1.9, 2.25)
            '1.90 to 2.25 nats'
        """
        first, last = self.value(low), self.value(high)
        unit = last[len(last.rstrip(f"% {NBSP}")) :] if self.share else f" {self.unit}"
        return last if first == last else f"{first.removesuffix(unit)} to {last}"

    def number(self, value: float, decimals: int) -> str:
        """A value with so many decimals, for a table whose head has its unit."""
        if abs(value) >= LARGE:
            return figures(value)
        text = f"{abs(value) * self._factor:.{decimals}f}{f'{NBSP}%' if self.share else ''}"
        return f"{MINUS}{text}" if value < 0 else text

    def decimals(self, spread: float) -> int:
        """How many decimals a difference deserves that is known to within ``spread``."""
        size = abs(spread) * self._factor
        if size == 0 or not math.isfinite(size):
            return 1
        power = math.floor(math.log10(size))
        places = (size < 3 * 10.0**power) - power
        return min(max(places, int(self.share)), 12)

    def difference(self, difference: float, decimals: int | None = None) -> str:
        """A difference without its unit: of shares, in percentage points.

        Example:
            >>> Measure("val_accuracy", "share right", "max").difference(-0.0123)
            '\N{MINUS SIGN}1.2'
        """
        size = abs(difference) * self._factor
        if size >= LARGE:
            return figures(difference * self._factor)
        text = f"{size:.{self.decimals(difference) if decimals is None else decimals}f}"
        return f"{MINUS}{text}" if difference < 0 and float(text) else text

    def with_unit(self, text: str) -> str:
        """A difference's text with its unit."""
        return f"{text}{NBSP}{self.step_unit}" if self.step_unit else text

    @property
    def _factor(self) -> float:
        return 100.0 if self.share else 1.0
