"""How the numbers of tolerance are written."""

from __future__ import annotations

import numpy as np

from lightning_dice.analysis.facts import NONE
from lightning_dice.analysis.phrases import MINUS, NBSP, counted
from lightning_dice.analysis.tolerance.rows import BreakdownRow


def tenths(value: float) -> str:
    """A number with one decimal.

    Example:
        >>> tenths(-4.85) == f"{MINUS}4.8", tenths(3.0)
        (True, '3.0')
    """
    return f"{value:.1f}".replace("-", MINUS)


def share(value: float) -> str:
    """A share of what plain reaches, which may be above 1.

    Example:
        >>> share(0.9312).replace(NBSP, " "), share(1.004).replace(NBSP, " ")
        ('93.1 %', '100.4 %')
    """
    return NONE if np.isnan(value) else f"{tenths(100 * value)}{NBSP}%"


def span(low: float, high: float) -> str:
    """Two shares; one, where they look the same.

    Example:
        >>> span(0.91, 0.93).replace(NBSP, " ")
        '91.0 to 93.0 %'
    """
    if np.isnan(low):
        return NONE
    first, last = share(low), share(high)
    return last if first == last else f"{first.removesuffix(f'{NBSP}%')} to {last}"


def threshold(row: BreakdownRow) -> str:
    """A breakdown threshold without its interval.

    Example:
        >>> row = BreakdownRow(0, 0, 5, 13.2, 11.8, 14.6, 0, 0, False, 2, 20, 0.5, 0.05, 0.1)
        >>> threshold(row), threshold(row._replace(mean=14.0, agree=True))
        ('13.2', '14')
        >>> threshold(row._replace(beyond=5)), threshold(row._replace(mean=18.4, beyond=2))
        ('20 or more', '18.4 or more')
        >>> threshold(row._replace(below=5))
        'below 2'
    """
    if row.below == row.n:
        return f"below {row.lowest}"
    if row.beyond == row.n:
        return f"{row.highest} or more"
    same = row.agree or row.n == 1
    text = f"{row.mean:.0f}" if same else tenths(row.mean)
    return f"{text} or more" if row.beyond else text


def certainty(row: BreakdownRow) -> str:
    """Return how sure a breakdown threshold is.

    That is its interval, or that all seeds agree, or how many seeds there are where they are too
    few for an interval.

    Example:
        >>> row = BreakdownRow(0, 0, 5, 13.2, 11.8, 14.6, 0, 0, False, 2, 20, 0.5, 0.05, 0.1)
        >>> alone = row._replace(n=1, ci_low=np.nan)
        >>> certainty(row), certainty(row._replace(agree=True)), certainty(alone)
        ('11.8 to 14.6', 'all seeds agree', '1 seed')
    """
    if row.agree:
        return "all seeds agree"
    if np.isnan(row.ci_low):
        return counted(row.n, "seed")
    return f"{tenths(row.ci_low)} to {tenths(row.ci_high)}"


def rank(best: int, worst: int) -> str:
    """A rank as far as it is confirmed.

    Example:
        >>> rank(1, 1), rank(1, 3)
        ('1', '1 to 3')
    """
    return str(best) if best == worst else f"{best} to {worst}"
