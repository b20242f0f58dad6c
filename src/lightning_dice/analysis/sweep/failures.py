"""Which dice did not learn, in a sentence that gives what they ended at and what plain did."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from lightning_dice.analysis.phrases import counted, listed
from lightning_dice.analysis.sweep.arms import Arm
from lightning_dice.analysis.sweep.measure import Measure
from lightning_dice.analysis.sweep.results import Results, Summary
from lightning_dice.analysis.sweep.standing import NOT_LEARNED, dice_rows, standing

NAMED = 4
"""Most thresholds that a sentence names one by one."""


def failures(results: Results) -> list[str]:
    """Return a sentence on the arms that did not learn where plain training did, and one on others.

    Args:
        results: What was computed.
    """
    beside: dict[bool | None, list[Summary]] = {True: [], False: [], None: []}
    for row in dice_rows(results):
        if standing(results, row) == NOT_LEARNED:
            plain = results.summary(row.context, Arm("plain"))
            beside[None if plain is None else plain.learned].append(row)
    return [_sentence(results, rows, learned) for learned, rows in beside.items() if rows]


def _sentence(results: Results, rows: Sequence[Summary], plain_learned: bool | None) -> str:
    who, ended = _who(results, rows), _ended(results, rows)
    failed = f"{who}: {ended}" if ended else who
    contexts = sorted({row.context for row in rows})
    plain = [results.summary(context, Arm("plain")) for context in contexts]
    reached = _ended(results, [row for row in plain if row is not None])
    if plain_learned is False:
        return f"{failed}; nor did plain training{f': {reached}' if reached else ''}."
    if all(row.diverged > row.n for row in rows):
        return f"{failed}."
    if plain_learned:
        there = f" against {reached} of plain training" if reached else ", where plain training did"
        return f"{failed}{there}."
    baseline = _baseline(results, contexts)
    return f"{failed}, where the baseline is {baseline}." if baseline else f"{failed}."


def _who(results: Results, rows: Sequence[Summary]) -> str:
    dice = dice_rows(results)
    if len(rows) == len(dice):
        alone = len(dice) == 1
        return "The one arm with dice did not learn" if alone else "No arm with dice learned"
    return f"{len(rows)} of {_arms(dice)}{_thresholds(results, rows, dice)} did not learn"


def _arms(dice: Sequence[Summary]) -> str:
    return f"{counted(len(dice), 'arm')} with dice"


def _thresholds(results: Results, rows: Sequence[Summary], dice: Sequence[Summary]) -> str:
    """The thresholds of some arms in brackets; nothing where they tell nothing or are too many."""
    own, swept = (
        sorted({results.sweep.arms[row.arm].threshold or 0 for row in group})
        for group in (rows, dice)
    )
    if own == swept:
        return ""
    if len(own) == 1:
        return f" (threshold {own[0]})"
    start = swept.index(own[0])
    if len(own) > 2 and own == swept[start : start + len(own)]:
        return f" (thresholds {own[0]} to {own[-1]})"
    return f" (thresholds {listed(list(map(str, own)))})" if len(own) <= NAMED else ""


def _ended(results: Results, rows: Sequence[Summary]) -> str:
    """What arms ended at; empty where they are judged by several metrics."""
    measure = _measure(results, {row.context for row in rows})
    mostly = [row for row in rows if row.diverged > row.n]
    means = [row.mean for row in rows if row.diverged <= row.n]
    told = [measure.span(min(means), max(means))] if means and measure else []
    if mostly:
        lost = sum(row.diverged for row in mostly)
        runs = sum(row.n + row.diverged for row in mostly)
        told.append(f"{lost} of {counted(runs, 'run')} diverged")
    return " or ".join(told)


def _measure(results: Results, contexts: Collection[int]) -> Measure | None:
    measures = {results.context(context).measure for context in contexts}
    return measures.pop() if len(measures) == 1 else None


def _baseline(results: Results, contexts: Collection[int]) -> str:
    measure = _measure(results, contexts)
    given = [results.context(context).baseline for context in contexts]
    there = [value for value in given if value is not None]
    return measure.span(min(there), max(there)) if there and measure else ""
