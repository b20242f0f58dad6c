"""The named scalings: which factor each outcome gives, as exact fractions.

A scaling is a pure function from what the die showed to a factor, ``None`` standing for a discard.
Who wants another rule passes a table of factors, one per natural face; nothing here needs a class.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Literal, NamedTuple

from lightning_dice.rules.checking import as_text, finite_number, in_order, one_of
from lightning_dice.rules.errors import SettingError
from lightning_dice.rules.outcome import Outcome

Factor = Fraction | None
"""An exact scale; ``None`` is a discard."""
Given = float | Literal["None"] | None
"""A factor as a user may write it. jsonargparse hands a ``null`` of a list that is a flag of a
callback over as the text ``"None"``."""
Table = tuple[float | None, ...]
"""A user's own factors by natural face, the first for a natural 1."""


class Throw(NamedTuple):
    """What a scaling may look at."""

    natural: int
    total: int
    outcome: Outcome
    threshold: int
    sides: int


def margin(throw: Throw) -> Factor:
    """Partial by the total on success, reversed by how far the total falls short on failure."""
    if throw.outcome is Outcome.FAILURE:
        return max(Fraction(throw.total - throw.threshold, throw.sides), Fraction(-1))
    return skip(throw)


def proportional(throw: Throw) -> Factor:
    """Partial by the total on success, reversed by the total on failure.

    A total below zero (a modifier can do that) gives 0, never a scale above 0 for a failure.
    """
    if throw.outcome is Outcome.FAILURE:
        return -Fraction(min(max(throw.total, 0), throw.sides), throw.sides)
    return skip(throw)


def skip(throw: Throw) -> Factor:
    """Partial by the total on success, discarded on failure."""
    if throw.outcome is Outcome.CRITICAL_SUCCESS:
        return Fraction(1)
    if throw.outcome is Outcome.SUCCESS:
        return min(Fraction(throw.total, throw.sides), Fraction(1))
    return None


def reference(throw: Throw) -> Factor:
    """What the public Roll-to-Train code does, as its code (not its README) has it."""
    if throw.outcome is Outcome.CRITICAL_FAILURE:
        return Fraction(-1)
    if throw.outcome is Outcome.CRITICAL_SUCCESS:
        return Fraction(1)
    return Fraction(max(throw.total - throw.threshold, 0), 100)


SCALINGS: dict[str, Callable[[Throw], Factor]] = {
    function.__name__: function for function in (margin, proportional, skip, reference)
}
"""The scalings that have a name."""


def check_scaling(scaling: object, sides: int) -> str | Table:
    """The scaling as a name or a checked table.

    Args:
        scaling: A name in ``SCALINGS``, or one finite factor (or ``None``) per natural face.
        sides: How many faces the die has.

    Raises:
        SettingError: If the name is unknown, or the table has the wrong length or an entry that
            is not a finite number, or one whose square is too large for a float.

    Example:
        >>> check_scaling([None, -0.5, 0.5, 1], sides=4)
        (None, -0.5, 0.5, 1.0)
    """
    allowed = f"expected {', '.join(SCALINGS)} or a list of {sides} factors"
    if isinstance(scaling, str):
        return one_of("scaling", scaling, SCALINGS, allowed)
    factors = in_order("scaling", scaling, allowed)
    if len(factors) != sides:
        raise SettingError(
            "scaling",
            scaling,
            f"a table needs one factor per face, {sides} of them, and this one has {len(factors)}",
        )
    return tuple(_check_factor(face, factor) for face, factor in enumerate(factors, start=1))


def _check_factor(face: int, factor: object) -> float | None:
    if factor is None or as_text(factor) == "None":
        return None
    allowed = "expected a finite number, or None to discard (factors are by natural face)"
    return finite_number(f"scaling[{face}]", factor, allowed)


def factor_of(scaling: str | Table, throw: Throw) -> Factor:
    """The exact factor that ``scaling`` gives for ``throw``.

    Example:
        >>> factor_of("margin", Throw(17, 17, Outcome.SUCCESS, threshold=10, sides=20))
        Fraction(17, 20)
    """
    if isinstance(scaling, str):
        return SCALINGS[scaling](throw)
    factor = scaling[throw.natural - 1]
    # A table is written in decimals: 0.1 means 1/10, not the nearest binary fraction.
    return None if factor is None else Fraction(repr(factor))
