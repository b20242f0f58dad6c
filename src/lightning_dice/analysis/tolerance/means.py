"""Means with their intervals, group by group."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd

from lightning_dice.analysis.readers import Floats
from lightning_dice.analysis.sweep.statistics import interval

FROM_ZERO = (0.0, np.inf)
"""What shares of plain's result can be: they have no upper end, as dice may do better."""


class Mean(NamedTuple):
    """A mean over seeds.

    Attributes:
        n: How many values.
        mean: Their mean; NaN of none.
        ci_low: Where its 95 % confidence interval by Student's t begins; NaN where there is none.
        ci_high: Where it ends.
    """

    n: int
    mean: float
    ci_low: float
    ci_high: float

    @classmethod
    def of(cls, values: Floats, possible: tuple[float, float] = (-np.inf, np.inf)) -> Mean:
        """Return the mean of the values that are numbers.

        Args:
            values: One per seed.
            possible: The lowest and the highest value that they can have.

        Example:
            >>> Mean.of(np.array([1.0, np.nan, 1.0]))
            Mean(n=2, mean=1.0, ci_low=nan, ci_high=nan)
        """
        there = values[np.isfinite(values)]
        n = len(there)
        if not n:
            return cls(0, np.nan, np.nan, np.nan)
        mean, sd = float(there.mean()), float(there.std(ddof=1)) if n > 1 else np.nan
        low, high = interval(np.array([n]), np.array([mean]), np.array([sd]), possible)
        return cls(n, mean, float(low[0]), float(high[0]))


def each(table: pd.DataFrame, *columns: str) -> Iterator[tuple[tuple[int, ...], pd.DataFrame]]:
    """The rows of each group, with the positions that the group has in these columns, sorted.

    Args:
        table: With whole numbers in ``columns``.
        *columns: What the rows of a group share.
    """
    for _, rows in table.groupby([*columns]):
        yield tuple(int(rows[column].iloc[0]) for column in columns), rows
