"""The exact odds of a saving throw, in rational arithmetic."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from lightning_dice.rules.die import Die
from lightning_dice.rules.outcome import Outcome
from lightning_dice.rules.scaling import Factor
from lightning_dice.rules.values import FrozenMapping, copied_by_field


@copied_by_field
@dataclass(frozen=True, slots=True)
class Odds:
    """The exact distribution of outcomes and scales; every number is a ``Fraction``.

    Attributes:
        probability: The chance of each outcome, all four present; they sum to 1.
        scales: The chance of each scale, ascending; the key ``None`` is a discard and comes first.
        mean: E[s], the expected step in units of a full one; a discard counts as 0.
        mean_square: E[s^2].

    Example:
        >>> from lightning_dice.rules import SavingThrow
        >>> odds = SavingThrow("d20", threshold=15).odds()
        >>> odds.mean, odds.probability[Outcome.FAILURE], f"{float(odds.efficiency):.4f}"
        (Fraction(7, 200), Fraction(13, 20), '0.0037')
    """

    probability: Mapping[Outcome, Fraction]
    scales: Mapping[Factor, Fraction]
    mean: Fraction
    mean_square: Fraction

    @classmethod
    def of(cls, die: Die, faces: Sequence[tuple[Outcome, Factor]]) -> Odds:
        """Enumerate the faces of ``die``.

        Args:
            die: Gives each face its chance.
            faces: Outcome and factor of each natural face, the first for a natural 1.
        """
        probability = dict.fromkeys(Outcome, Fraction(0))
        scales: dict[Factor, Fraction] = defaultdict(Fraction)
        for natural, (outcome, factor) in zip(die.faces, faces, strict=True):
            chance = die.chance(natural)
            probability[outcome] += chance
            scales[factor] += chance
        ascending = sorted(scales, key=lambda s: (s is not None, s or 0))
        return cls(
            probability=FrozenMapping(probability),
            scales=FrozenMapping({s: scales[s] for s in ascending}),
            mean=sum(((s or 0) * p for s, p in scales.items()), Fraction(0)),
            mean_square=sum(((s or 0) ** 2 * p for s, p in scales.items()), Fraction(0)),
        )

    @property
    def efficiency(self) -> Fraction:
        """E[s]^2 / E[s^2]: how much of a step's signal the dice leave, 1 for no dice at all.

        It equals p for an update that is kept with chance p and discarded otherwise. It is 0
        where every update is discarded.
        """
        return self.mean**2 / self.mean_square if self.mean_square else Fraction(0)

    @property
    def discard(self) -> Fraction:
        """The chance that a roll discards."""
        return self.scales.get(None, Fraction(0))

    @property
    def inverse(self) -> Fraction:
        """The chance that a roll reverses: a scale below 0."""
        return sum((p for s, p in self.scales.items() if (s or 0) < 0), Fraction(0))

    @property
    def forward(self) -> Fraction:
        """The chance of a scale above 0."""
        return sum((p for s, p in self.scales.items() if (s or 0) > 0), Fraction(0))

    def __reduce__(self) -> tuple[Any, ...]:
        # Text only: small, and safe to load with torch's weights_only=True.
        probability = [(str(outcome), str(p)) for outcome, p in self.probability.items()]
        scales = [(None if s is None else str(s), str(p)) for s, p in self.scales.items()]
        return restore_odds, (probability, scales, str(self.mean), str(self.mean_square))


def restore_odds(
    probability: Sequence[tuple[str, str]],
    scales: Sequence[tuple[str | None, str]],
    mean: str,
    mean_square: str,
) -> Odds:
    """Return the odds that were pickled as text.

    Args:
        probability: Each outcome and its chance.
        scales: Each scale, ``None`` for a discard, and its chance.
        mean: E[s].
        mean_square: E[s^2].
    """
    return Odds(
        FrozenMapping({Outcome(outcome): Fraction(p) for outcome, p in probability}),
        FrozenMapping({None if s is None else Fraction(s): Fraction(p) for s, p in scales}),
        Fraction(mean),
        Fraction(mean_square),
    )
