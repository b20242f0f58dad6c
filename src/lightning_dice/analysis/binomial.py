"""The interval in which a count of outcomes falls, by the exact binomial distribution."""

from __future__ import annotations

import math

import numpy as np


def binomial_interval(n: int, p: float, level: float = 0.95) -> tuple[int, int]:
    """The central interval of a binomial count.

    Only a window of ten standard deviations around the mean is summed, so that the cost grows
    with the root of ``n``; what lies outside is less than a float can tell from 0.

    Args:
        n: How many rolls.
        p: The chance of the outcome, 0 to 1.
        level: The least probability that the interval holds.

    Returns:
        The two counts at which the distribution function first reaches ``(1 - level) / 2`` and
        ``(1 + level) / 2``.

    Example:
        >>> binomial_interval(600, 0.05)
        (20, 41)
    """
    if n == 0 or p in (0, 1):
        return round(n * p), round(n * p)
    reach = 10 * math.sqrt(n * p * (1 - p)) + 40
    low, high = max(0, math.floor(n * p - reach)), min(n, math.ceil(n * p + reach))
    k = np.arange(low, high, dtype=np.float64)
    # Each probability over the one before it, in logarithms; the constant is found by the sum.
    log_ratio = np.log(n - k) - np.log(k + 1) + math.log(p) - math.log1p(-p)
    log_mass = np.concatenate([[0.0], np.cumsum(log_ratio)])
    mass = np.exp(log_mass - log_mass.max())
    total = np.cumsum(mass) / mass.sum()
    tails = np.searchsorted(total, [(1 - level) / 2, (1 + level) / 2])
    return low + int(tails[0]), low + int(tails[1])
