"""Pure functions over counts of outcomes."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from lightning_dice.rules import Odds, Outcome, Roll, SettingError
from lightning_dice.rules.checking import finite_number
from lightning_dice.rules.errors import tried

OUTCOMES = tuple(Outcome)
"""The order of every vector of outcomes, worst first."""
_ROLLS = "expected a roll, or several of them, such as throw.resolve(17)"


def check_rolls(rolls: Any) -> list[Roll]:
    """Return rolls as a list; one roll is a list of one.

    Raises:
        SettingError: If something else is among them.

    Example:
        >>> from lightning_dice import SavingThrow
        >>> len(check_rolls(SavingThrow().resolve(3)))
        1
    """
    if isinstance(rolls, Roll):
        rolls = [rolls]
    checked = tried(lambda given: [_check_roll(roll) for roll in given], rolls)
    if checked is None:
        raise SettingError("rolls", rolls, _ROLLS)
    return checked


def _check_roll(roll: object) -> Roll:
    if not isinstance(roll, Roll) or roll.outcome not in OUTCOMES:
        raise SettingError("roll", roll, _ROLLS)
    if roll.scale is not None:
        finite_number("roll.scale", roll.scale, _ROLLS, math.inf)
    return roll


def _check_counts(counts: object) -> Tensor:
    if isinstance(counts, Tensor) and counts.shape == (len(OUTCOMES),):
        observed = tried(lambda given: given.detach().to("cpu", torch.float64), counts)
        if observed is not None and not counts.is_complex() and (observed >= 0).all():
            return observed
    raise SettingError("counts", counts, f"expected a tensor of {len(OUTCOMES)} counts")


def outcome_counts(rolls: Iterable[Roll]) -> Tensor:
    """How often each outcome came up.

    Args:
        rolls: Any number of rolls.

    Returns:
        Shape ``(4,)``, int64, in the order of ``Outcome``.

    Example:
        >>> from lightning_dice import SavingThrow
        >>> outcome_counts(SavingThrow("d20", 10).resolve(n) for n in (1, 4, 12, 13))
        tensor([1, 1, 2, 0])
    """
    index = [OUTCOMES.index(roll.outcome) for roll in check_rolls(rolls)]
    return torch.bincount(torch.tensor(index, dtype=torch.long), minlength=len(OUTCOMES))


def mean_scale(rolls: Iterable[Roll]) -> Tensor:
    """The mean scale, a discard counting as 0; NaN without rolls.

    Returns:
        A float64 scalar.

    Example:
        >>> from lightning_dice import SavingThrow
        >>> mean_scale(SavingThrow("d20", 10).resolve(n) for n in (1, 20))
        tensor(0.5000, dtype=torch.float64)
    """
    scales = [roll.scale or 0.0 for roll in check_rolls(rolls)]
    return torch.tensor(scales, dtype=torch.float64).mean()


def luck(counts: Tensor, odds: Odds) -> Tensor:
    """How far observed outcomes are from the odds: the p-value of Pearson's chi-square test.

    Close to 1: as the odds have it; under 0.01: rolls as odd as these come up less than once in a
    hundred runs. The chi-square distribution is an approximation that wants an expected count of
    about 5 for every outcome (100 rolls of a d20).

    Args:
        counts: Shape ``(4,)``, in the order of ``Outcome``.
        odds: What was to be expected.

    Returns:
        A float64 scalar, 0 to 1: NaN without rolls, 1 where only one outcome is possible, 0 where
        an impossible outcome was seen.

    Example:
        >>> from lightning_dice import SavingThrow
        >>> luck(torch.tensor([5, 40, 50, 5]), SavingThrow("d20", 10).odds())
        tensor(1., dtype=torch.float64)
    """
    observed = _check_counts(counts)
    chances = tried(lambda given: [float(given.probability[one]) for one in OUTCOMES], odds)
    if chances is None:
        raise SettingError("odds", odds, "expected the odds of a saving throw: throw.odds()")
    chance = torch.tensor(chances, dtype=torch.float64)
    possible = chance > 0
    rolls = observed.sum()
    if rolls == 0:
        return torch.tensor(torch.nan, dtype=torch.float64)
    if observed[~possible].any():
        return torch.tensor(0.0, dtype=torch.float64)
    expected = chance[possible] * rolls
    statistic = ((observed[possible] - expected) ** 2 / expected).sum()
    freedom = possible.sum().to(torch.float64) - 1
    if freedom == 0:
        return torch.tensor(1.0, dtype=torch.float64)
    tail: Tensor = torch.special.gammaincc(freedom / 2, statistic / 2)
    return tail
