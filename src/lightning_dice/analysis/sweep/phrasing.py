"""Differences in words: each with how sure it is, and neighbouring thresholds told together."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from itertools import groupby
from typing import TypeVar

import numpy as np

from lightning_dice.analysis.phrases import MINUS, NBSP, counted, figures
from lightning_dice.analysis.sweep.arms import NAMES
from lightning_dice.analysis.sweep.measure import POINTS, Measure
from lightning_dice.analysis.sweep.results import Comparison
from lightning_dice.analysis.sweep.statistics import (
    BETTER,
    MIN_SEEDS,
    NO_TEST,
    OPEN,
    TOO_FEW,
    UNCONFIRMED,
)

Item = TypeVar("Item")
Key = TypeVar("Key", bound=Hashable)


def stretches(
    items: Sequence[Item], key: Callable[[Item], Key | None]
) -> list[tuple[Key, list[Item]]]:
    """Neighbours with the same key together; those with key ``None`` are left out.

    Example:
        >>> stretches([1, 3, 4, 5, 6], lambda item: None if item == 4 else item % 2)
        [(1, [1, 3]), (1, [5]), (0, [6])]
    """
    return [(kind, list(group)) for kind, group in groupby(items, key) if kind is not None]


def at(thresholds: Sequence[int | None]) -> str:
    """The beginning of a sentence about neighbouring thresholds.

    Example:
        >>> at([5]), at([5, 10]), at([15, 16, 20])
        ('At threshold 5', 'At thresholds 5 and 10', 'At thresholds 15 to 20')
    """
    if len(thresholds) == 1:
        return f"At threshold {thresholds[0]}"
    joined = "and" if len(thresholds) == 2 else "to"
    return f"At thresholds {thresholds[0]} {joined} {thresholds[-1]}"


def against(measure: Measure, control: str, kind: Hashable, rows: Sequence[Comparison]) -> str:
    """What comparisons with one control came to, all of the same ``kind``; the end of a sentence.

    Args:
        measure: What the differences are of.
        control: What the dice are held against.
        kind: What ``kind_of`` says of the rows.
        rows: Of neighbouring thresholds.
    """
    name = NAMES[control]
    if kind == (NO_TEST, 0):
        return f"dice and {name} have no seed with a value in common"
    if kind == TOO_FEW:
        return f"dice and {name} have {_pairs(rows)} in common: {needed()}"
    if kind == (NO_TEST, MIN_SEEDS):
        each = _range(measure, rows, lambda row, _: "")
        return (
            f"dice differ from {name} by the same in every seed, which no test can judge ({each})"
        )
    if kind == (OPEN, "equal"):
        return f"dice and {name} came to the same in every one of {_pairs(rows)}"
    if kind == OPEN:
        several = "differences from" if len(rows) > 1 else "difference"
        return (
            f"dice and {name} cannot be told apart: {several} {_range(measure, rows, _interval)}, "
            f"{_pairs(rows)} (detectable: {_detectable(measure, rows)})"
        )
    if isinstance(kind, tuple):
        how = "better" if measure.gain(rows[0].difference) > 0 else "worse"
        smallest = probability(min(row.p_holm for row in rows))
        least = "at the least " if len(rows) > 1 else ""
        return (
            f"dice may be {how} than {name}, by {_range(measure, rows, _size)}, {_pairs(rows)}, "
            f"but that is not confirmed ({least}{smallest} after Holm)"
        )
    how = "better" if kind == BETTER else "worse"
    p = max(row.p_holm for row in rows)
    return (
        f"dice were {how} than {name} by {_range(measure, rows, _size)}, {_pairs(rows)} "
        f"({probability(p, most=len(rows) > 1)} after Holm)"
    )


def kind_of(row: Comparison) -> Hashable:
    """What comparisons must share to be told in one sentence."""
    if row.finding == NO_TEST:
        return NO_TEST, min(row.n, MIN_SEEDS)
    if row.finding == OPEN and np.isnan(row.p):
        return OPEN, "equal"
    if row.finding == UNCONFIRMED:
        return UNCONFIRMED, row.difference > 0
    return row.finding


def needed() -> str:
    """Return what a comparison of too few seeds lacks; the end of a sentence."""
    return f"too few to compare, as {MIN_SEEDS} or more are needed"


def probability(p: float, most: bool = False) -> str:
    """A p-value, or the largest of several.

    Example:
        >>> probability(0.0321).replace(NBSP, " "), probability(0.00001)
        ('p = 0.032', 'p under 0.001')
    """
    if p < 0.001:
        return "p under 0.001"
    return f"p {'at most' if most else '='} {figures(p, 2)}".replace(" ", NBSP)


def places(measure: Measure, row: Comparison) -> int:
    """How many decimals the numbers of a comparison have."""
    if np.isnan(row.ci_low):
        return measure.decimals(row.difference)
    decimals = measure.decimals((row.ci_high - row.ci_low) / 2)
    # A bound that is not 0 shall not look like it: on which side of 0 it lies is the finding.
    while decimals < 12 and any(
        bound and not measure.difference(bound, decimals).strip(f"0.{MINUS}")
        for bound in (row.ci_low, row.ci_high)
    ):
        decimals += 1
    return decimals


def spell_out_points(texts: Sequence[str]) -> list[str]:
    """The texts with the first percentage points among them in full.

    Example:
        >>> spell_out_points(["none", f"2{NBSP}pp, 3{NBSP}pp"])[1].replace(NBSP, " ")
        '2 percentage points (pp), 3 pp'
    """
    short, told, done = f"{NBSP}{POINTS}", [], False
    for text in texts:
        if short in text and not done:
            text = text.replace(short, f" percentage points ({POINTS})", 1)
            done = True
        told.append(text)
    return told


def _range(
    measure: Measure, rows: Sequence[Comparison], certainty: Callable[[Comparison, Measure], str]
) -> str:
    """The difference, or the smallest and the largest of several."""

    def one(row: Comparison) -> str:
        decimals, sure = places(measure, row), certainty(row, measure)
        size = abs(row.difference) if certainty is _size else row.difference
        text = measure.with_unit(measure.difference(size, decimals))
        if not sure:
            return text
        return f"{text} ({sure})" if len(rows) > 1 or certainty is _size else f"{text}, {sure}"

    if len(rows) == 1:
        return one(rows[0])
    ordered = sorted(rows, key=lambda row: row.difference)
    if certainty is _size:
        ordered.sort(key=lambda row: abs(row.difference))
    return f"{one(ordered[0])} to {one(ordered[-1])}"


def _interval(row: Comparison, measure: Measure) -> str:
    decimals = places(measure, row)
    low, high = (measure.difference(bound, decimals) for bound in (row.ci_low, row.ci_high))
    return f"95{NBSP}%{NBSP}CI {low} to {high}"


def _size(row: Comparison, measure: Measure) -> str:
    """The interval of how far better or worse, whichever way the metric goes."""
    low, high = sorted((abs(row.ci_low), abs(row.ci_high)))
    return _interval(row._replace(ci_low=low, ci_high=high), measure)


def _pairs(rows: Sequence[Comparison]) -> str:
    fewest, most = min(row.n for row in rows), max(row.n for row in rows)
    if fewest < most:
        return f"{fewest} to {most} seeds"
    return counted(most, "seed") + (" each" if len(rows) > 1 else "")


def _detectable(measure: Measure, rows: Sequence[Comparison]) -> str:
    found = sorted(row.detectable for row in rows)
    texts = [measure.difference(value, measure.decimals(value)) for value in found]
    both = texts[0] if texts[0] == texts[-1] else f"{texts[0]} to {texts[-1]}"
    return measure.with_unit(both)
