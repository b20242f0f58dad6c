"""What became of each arm with dice: one count that tiles, titles and sentences share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from lightning_dice.analysis.phrases import counted
from lightning_dice.analysis.sweep.arms import DICE
from lightning_dice.analysis.sweep.results import Results, Summary
from lightning_dice.analysis.sweep.statistics import (
    BETTER,
    NO_TEST,
    OPEN,
    TOO_FEW,
    UNCONFIRMED,
    WORSE,
)

NOT_LEARNED = "did not learn"
TESTED = (BETTER, WORSE, UNCONFIRMED, OPEN)
"""The standings that follow from a test against plain training."""


def dice_rows(results: Results) -> list[Summary]:
    """Return the arms that roll dice, context by context."""
    return [
        row for row in results.summaries.values() if results.sweep.arms[row.arm].control == DICE
    ]


def standing(results: Results, row: Summary) -> str:
    """Return what became of an arm with dice: exactly one of the words, whatever else is true.

    An arm that did not learn is that, and not also worse than plain training. Any other arm is what
    its comparison with plain training found.
    """
    if row.learned is False:
        return NOT_LEARNED
    compared = results.compared.get((row.context, row.arm), {}).get("plain")
    return NO_TEST if compared is None else compared.finding


def standings(results: Results, rows: Sequence[Summary]) -> Counter[str]:
    """Count the arms by what became of them."""
    return Counter(standing(results, row) for row in rows)


def pairs_with_plain(results: Results, rows: Sequence[Summary]) -> str:
    """Return how many seeds the arms share with plain training, in words.

    Args:
        results: What was computed.
        rows: Arms that have a comparison with plain training.
    """
    pairs = [results.compared[row.context, row.arm]["plain"].n for row in rows]
    fewest, most = min(pairs), max(pairs)
    return counted(most, "seed") if fewest == most else f"{fewest} to {most} seeds"


def verdict_in_brief(results: Results, rows: Sequence[Summary]) -> str:
    """Return what became of some arms with dice, short enough for the title of a picture.

    Args:
        results: What was computed.
        rows: The arms.
    """
    found = standings(results, rows)
    dice, failed = counted(len(rows), "arm") + " with dice", found[NOT_LEARNED]
    if failed < len(rows) and all(row.learned is not None for row in rows):
        dice = f"{len(rows) - failed} of {dice} learned" + (f", {failed} did not" if failed else "")
    elif failed:
        dice = f"{failed} of {dice} did not learn"
    if any(found[kind] for kind in TESTED):
        few = f", {found[TOO_FEW]} with too few seeds" if found[TOO_FEW] else ""
        return f"{dice}; {found[BETTER]} better than plain, {found[WORSE]} worse{few}"
    return f"{dice}; too few seeds to say more" if found[TOO_FEW] else dice
