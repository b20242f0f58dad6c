"""What a saving throw means for training, in words."""

from __future__ import annotations

from bisect import bisect_left
from fractions import Fraction

from lightning_dice.rules.odds import Odds
from lightning_dice.rules.saving_throw import SavingThrow
from lightning_dice.rules.scaling import Table

LOW_EFFICIENCY = 0.02
"""Below this efficiency training hardly learns."""


def meaning(throw: SavingThrow) -> str:
    """The expected step, the steps that go backwards or nowhere, and the signal that is left.

    Example:
        >>> meaning(SavingThrow("d20", threshold=10, scaling="skip"))
        'expected step 0.412 of a full one; no step goes backwards, 45 % are discarded; as much \
signal as keeping 52.7 % of updates'
    """
    odds = throw.odds()
    if odds.discard == 1:
        return "every update is discarded: nothing is learned"
    if odds.mean_square == 0:
        return "every update is discarded or scaled to 0: nothing is learned"
    clauses = [_step(throw, odds), _directions(odds)]
    if odds.mean > 0:
        clauses.append(_signal(odds.efficiency))
    return "; ".join(clauses)


def advice(throw: SavingThrow) -> str | None:
    """What to expect of a saving throw that training cannot learn from, and what to change.

    Returns:
        ``None`` where training can learn: the mean scale is above 0 and the efficiency at least
        ``LOW_EFFICIENCY``. (A mean below 0 can have a high efficiency: it reliably climbs.)

    Example:
        >>> advice(SavingThrow("d20", threshold=15))
        "so little signal that training will hardly learn; lower the threshold to at most 14 or \
use scaling='skip'"
        >>> advice(SavingThrow("d20", threshold=14)) is None
        True
    """
    odds = throw.odds()
    if _learns(odds):
        return None
    if odds.mean_square == 0:
        expect = "no update reaches the weights, so training will not learn"
    elif odds.mean < 0:
        expect = "steps go backwards on average, so training will raise the loss"
    elif odds.mean == 0:
        expect = "forward and backward steps cancel out, so training will not learn"
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


def _step(throw: SavingThrow, odds: Odds) -> str:
    if odds.mean == 0:
        return "expected step 0: forwards and backwards cancel out"
    size = f"{float(odds.mean):.3g}"
    if odds.mean == 1:
        step = "a full one"
    elif abs(odds.mean) < 1:
        step = f"{size} of a full one"
    else:
        step = f"{size} times a full one"
    backwards = " (backwards)" if odds.mean < 0 else ""
    normalized = "" if throw.normalize == "none" else f", normalized by {throw.normalize}"
    return f"expected step {step}{backwards}{normalized}"


def _directions(odds: Odds) -> str:
    if odds.inverse == 1:
        return "every step goes backwards"
    inverse = f"{percent(odds.inverse)} of steps go" if odds.inverse else "no step goes"
    discard = f", {percent(odds.discard)} are discarded" if odds.discard else ""
    return f"{inverse} backwards{discard}"


def _signal(efficiency: Fraction) -> str:
    if efficiency == 1:
        return "no signal is lost"
    return f"as much signal as keeping {percent(efficiency)} of updates"


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
