"""Everything that follows from a saving throw's settings, face by face, computed on first use."""

from __future__ import annotations

import math
from fractions import Fraction
from functools import cached_property

from lightning_dice.rules.checking import LARGEST
from lightning_dice.rules.die import Die
from lightning_dice.rules.errors import SettingError
from lightning_dice.rules.odds import Odds
from lightning_dice.rules.outcome import Outcome, Roll
from lightning_dice.rules.scaling import Factor, Table, Throw, factor_of


class Faces:
    """Table of a saving throw: the outcome and the exact scale of each natural face.

    Args:
        die: The die.
        threshold: The total that a success must reach.
        scaling: A scaling's name, or a factor per natural face.
        normalize: What every scale is divided by: ``"none"``, ``"mean"`` or ``"rms"``.
    """

    def __init__(self, die: Die, threshold: int, scaling: str | Table, normalize: str) -> None:
        self._die = die
        self._threshold = threshold
        self._scaling = scaling
        self._normalize = normalize

    @cached_property
    def factors(self) -> tuple[Factor, ...]:
        """Exact scales, the first for a natural 1; ``None`` is a discard."""
        return tuple(
            None if factor is None else factor / self.divisor for _throw, factor in self._raw
        )

    @cached_property
    def rolls(self) -> tuple[Roll, ...]:
        """Rolls by natural face, the first for a natural 1."""
        return tuple(
            Roll(t.natural, t.total, t.outcome, None if factor is None else float(factor))
            for (t, _raw), factor in zip(self._raw, self.factors, strict=True)
        )

    @cached_property
    def odds(self) -> Odds:
        """Exact distribution of outcomes and scales."""
        outcomes = (throw.outcome for throw, _factor in self._raw)
        return Odds.of(self._die, list(zip(outcomes, self.factors, strict=True)))

    @cached_property
    def divisor(self) -> Fraction:
        """Number that every scale is divided by.

        Raises:
            SettingError: If no such number can be had from these scales.
        """
        if self._normalize == "none":
            return Fraction(1)
        raw = Odds.of(self._die, [(throw.outcome, factor) for throw, factor in self._raw])
        largest = max(
            (abs(scale) for scale in raw.scales if scale is not None), default=Fraction(0)
        )
        divisor = self._mean(raw) if self._normalize == "mean" else _root(raw, largest)
        if largest > Fraction(LARGEST) * divisor:
            remedy = f"would make the largest scale more than {LARGEST:g}; use normalize='none'"
            raise SettingError("normalize", self._normalize, remedy)
        return divisor

    def _mean(self, raw: Odds) -> Fraction:
        if raw.mean <= 0:
            raise SettingError(
                "normalize",
                "mean",
                f"{self._die} with threshold {self._threshold} has expected scale "
                f"{raw.mean}, and only one above 0 can be made 1; lower the "
                "threshold or use scaling='skip'",
            )
        return raw.mean

    @cached_property
    def _raw(self) -> tuple[tuple[Throw, Factor], ...]:
        throws = (self._throw(natural) for natural in self._die.faces)
        return tuple((throw, factor_of(self._scaling, throw)) for throw in throws)

    def _throw(self, natural: int) -> Throw:
        total = natural + self._die.modifier
        if natural == 1:
            outcome = Outcome.CRITICAL_FAILURE
        elif natural == self._die.sides:
            outcome = Outcome.CRITICAL_SUCCESS
        else:
            outcome = Outcome.SUCCESS if total >= self._threshold else Outcome.FAILURE
        return Throw(natural, total, outcome, self._threshold, self._die.sides)


def _root(raw: Odds, largest: Fraction) -> Fraction:
    if raw.mean_square == 0:
        raise SettingError("normalize", "rms", "every scale is 0, so there is nothing to scale")
    # The root is irrational, so the factors are divided by its nearest float; in units of the
    # largest factor, as the square of a factor may be no float.
    return Fraction(math.sqrt(raw.mean_square / largest**2)) * largest
