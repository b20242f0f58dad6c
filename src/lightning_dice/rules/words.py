"""What a saving throw means for training, in words."""

from __future__ import annotations

from bisect import bisect_left
from fractions import Fraction

from lightning_dice.rules.odds import Odds
from lightning_dice.rules.saving_throw import SavingThrow, check_throw
from lightning_dice.rules.scaling import Table

LOW_EFFICIENCY = 0.02
"""Below this efficiency training hardly learns."""


def meaning(throw: SavingThrow) -> str:
    """Describe the expected scale, the rolls that reverse or discard, and the signal left.

    The words are of rolls and scales alone, so that they hold for gradients and for updates: an
    optimizer may make a forward step of a reversed gradient.

    Example:
        >>> meaning(SavingThrow("d20", threshold=10, scaling="skip"))
        'expected scale 0.412; no roll reverses, 45 % discard; as much signal as keeping 52.7 % \
and discarding the rest'
    """
    throw = check_throw(throw)
    odds = throw.odds()
    if odds.discard == 1:
        return "every roll discards: nothing is learned"
    if odds.mean_square == 0:
        return "every roll discards or has scale 0: nothing is learned"
    clauses = [_expected_scale(throw, odds), _effects(odds)]
    if odds.mean > 0:
        clauses.append(_signal(odds.efficiency))
    return "; ".join(clauses)


def advice(throw: SavingThrow) -> str | None:
    """Say why training cannot learn from a saving throw, and what to change.

    Returns:
        ``None`` where training can learn: the expected scale is above 0 and the efficiency at least
        ``LOW_EFFICIENCY``. (One below 0 can have a high efficiency: it reliably climbs.)

    Example:
        >>> advice(SavingThrow("d20", threshold=15))
        "so little signal that training will hardly learn; lower the threshold to at most 14 or \
use scaling='skip'"
        >>> advice(SavingThrow("d20", threshold=14)) is None
        True
    """
    throw = check_throw(throw)
    odds = throw.odds()
    if _learns(odds):
        return None
    if odds.mean_square == 0:
        expect = "no roll lets anything through, so training will not learn"
    elif odds.mean < 0:
        expect = "an expected scale below 0 pushes against training, which will raise the loss"
    elif odds.mean == 0:
        expect = "an expected scale of 0 leaves no signal, so training will not learn"
    else:
        expect = "so little signal that training will hardly learn"
    return f"{expect}; {' or '.join(_remedies(throw))}"


def _learns(odds: Odds) -> bool:
    # As a float, since that is what the constant is: 1/50 is enough.
    return odds.mean > 0 and float(odds.efficiency) >= LOW_EFFICIENCY


def _remedies(throw: SavingThrow) -> list[str]:
    # A table is by natural face, so the threshold does not change its scales.
    if not isinstance(throw.scaling, str):
        return ["give the table factors with a larger mean"]
    remedies = []
    if highest := _highest_threshold(throw, throw.scaling):
        remedies.append(f"lower the threshold to at most {highest}")
    if _learns(SavingThrow(throw.die, throw.threshold, "skip").odds()):
        remedies.append("use scaling='skip'")
    return remedies or ["use another die"]


def _highest_threshold(throw: SavingThrow, scaling: str | Table) -> int:
    """The highest threshold below ``throw``'s that training learns from, 0 if there is none.

    Raising the threshold never raises the scale of a face, and training that no longer learns
    does not learn again further up, so the thresholds can be bisected.
    """
    candidates = range(1, throw.threshold)
    return bisect_left(
        candidates, True, key=lambda t: not _learns(SavingThrow(throw.die, t, scaling).odds())
    )


def _expected_scale(throw: SavingThrow, odds: Odds) -> str:
    if odds.mean == 0:
        return "expected scale 0, as scales above and below 0 cancel out"
    normalized = "" if throw.normalize == "none" else f", normalized by {throw.normalize}"
    return f"expected scale {float(odds.mean):.3g}{normalized}"


def _effects(odds: Odds) -> str:
    if odds.inverse == 1:
        return "every roll reverses"
    reversing = f"{percent(odds.inverse)} of rolls reverse" if odds.inverse else "no roll reverses"
    return reversing + (f", {percent(odds.discard)} discard" if odds.discard else "")


def _signal(efficiency: Fraction) -> str:
    if efficiency == 1:
        return "no signal is lost"
    return f"as much signal as keeping {percent(efficiency)} and discarding the rest"


def percent(share: Fraction) -> str:
    """A share in percent to three digits, never rounded to none or all of it.

    Example:
        >>> percent(Fraction(13, 20)), percent(Fraction(1, 10**9)), percent(Fraction(99999, 10**5))
        ('65 %', 'under 0.001 %', 'over 99.9 %')
    """
    if 0 < share < Fraction(1, 10**5):
        return "under 0.001 %"
    if Fraction(999, 1000) < share < 1:
        return "over 99.9 %"
    return f"{float(100 * share):.3g} %"
