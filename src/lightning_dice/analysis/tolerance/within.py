"""How much worse than plain training a run may end and still count as having survived."""

from __future__ import annotations

import math
import re
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from lightning_dice.analysis.phrases import NBSP
from lightning_dice.analysis.readers import Floats
from lightning_dice.analysis.rounding import rounding_error
from lightning_dice.analysis.sweep.measure import Measure
from lightning_dice.rules import SettingError

WITHIN = "5%"
_ALLOWED = (
    'expected a share of what plain training reaches, from "0%" to under "100%", or a number of at '
    'least 0 in the unit of the metric, such as "0.02"'
)


class Within(NamedTuple):
    """A margin below plain training.

    Attributes:
        amount: A share of what plain reaches, or a number in the metric's unit.
        relative: Which of the two.
    """

    amount: float
    relative: bool

    @classmethod
    def parse(cls, text: str) -> Within:
        """Read what a user writes.

        Raises:
            SettingError: If it is neither a share nor a number.

        Example:
            >>> Within.parse("5%"), Within.parse("0.02")
            (Within(amount=0.05, relative=True), Within(amount=0.02, relative=False))
        """
        found = re.fullmatch(r"\s*(\d+\.?\d*|\.\d+)(?:[eE]([+-]?\d{1,3}))?\s*(%?)\s*", str(text))
        if found is None:
            raise SettingError("within", text, _ALLOWED)
        number, relative = float(f"{found[1]}e{found[2] or 0}"), bool(found[3])
        if not math.isfinite(number) or (relative and number >= 100):
            raise SettingError("within", text, _ALLOWED)
        return cls(number / 100 if relative else number, relative)

    def survives(self, value: Floats, plain: Floats, measure: Measure) -> npt.NDArray[np.bool_]:
        """Whether runs ended no more than this worse than plain; one without a value did not.

        Args:
            value: What the metric ended at, NaN where training diverged.
            plain: What plain training of the same seed ended at.
            measure: The metric.
        """
        # Without the guard a run that is exactly at the margin falls on either side of it.
        if self.relative:
            share, least = kept(value, plain, measure), 1 - self.amount
            at_least: npt.NDArray[np.bool_] = share >= least - rounding_error(least)
            return at_least
        gain = (value - plain) if measure.mode == "max" else (plain - value)
        larger = np.maximum(np.abs(value), np.abs(plain))
        within: npt.NDArray[np.bool_] = gain >= -self.amount - rounding_error(larger)
        return within

    def spoken(self, measure: Measure) -> str:
        """The margin in words.

        Example:
            >>> accuracy = Measure("val_accuracy", "share right", "max")
            >>> [Within.parse(text).spoken(accuracy).replace(NBSP, " ") for text in ("5%", "0.02")]
            ['5 %', '2 percentage points']
        """
        if self.relative:
            return f"{100 * self.amount:.6g}{NBSP}%"
        if measure.share:
            return f"{100 * self.amount:.6g}{NBSP}percentage points"
        return f"{self.amount:.6g}{NBSP}{measure.unit}".rstrip(NBSP)


def kept(value: Floats, plain: Floats, measure: Measure) -> Floats:
    """The share of what plain training reaches that a run reaches; 0 for one that diverged.

    Args:
        value: What the metric ended at, NaN where training diverged.
        plain: What plain training of the same seed ended at, above 0.
        measure: The metric; where less is better the share is ``plain / value``.

    Returns:
        At least 0; above 1 where a run ends better than plain.

    Example:
        >>> loss = Measure("val_loss", "nats", "min")
        >>> kept(np.array([2.0, np.nan]), np.array([1.0, 1.0]), loss).tolist()
        [0.5, 0.0]
    """
    with np.errstate(all="ignore"):
        share = value / plain if measure.mode == "max" else plain / value
    return np.where(np.isfinite(share), np.maximum(share, 0.0), 0.0)


def has_shares(value: Floats, plain: Floats, measure: Measure) -> bool:
    """Whether every number is above 0 that a share is divided by.

    Args:
        value: What the metric ended at, NaN where training diverged.
        plain: What plain training of the same seed ended at.
        measure: The metric.
    """
    divisors = plain if measure.mode == "max" else np.concatenate([plain, value])
    return bool((divisors[np.isfinite(divisors)] > 0).all())
