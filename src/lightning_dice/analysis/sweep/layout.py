"""The tables of the page: text in rows and groups, without any layout."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from lightning_dice.analysis.facts import NONE
from lightning_dice.analysis.phrases import NBSP, counted, figures, listed
from lightning_dice.analysis.sweep.find import LeftOut
from lightning_dice.analysis.sweep.labels import short_name
from lightning_dice.analysis.sweep.measure import Measure
from lightning_dice.analysis.sweep.phrasing import places
from lightning_dice.analysis.sweep.results import Comparison, Results, Summary

NAMED = 3
"""Most of a kind that are named one by one."""


class Group(NamedTuple):
    """Rows under one heading, which may be empty."""

    heading: str
    rows: list[list[str]]


class Table(NamedTuple):
    """A table of the page.

    Attributes:
        columns: The heads; the first ``words`` of them are of words, the rest of numbers.
        words: How many.
        groups: The rows.
    """

    columns: tuple[str, ...]
    words: int
    groups: list[Group]

    @property
    def length(self) -> int:
        """How many rows it has."""
        return sum(len(group.rows) for group in self.groups)


def arms_table(results: Results) -> Table:
    """Every arm, context by context."""
    diverged = bool(results.arms["diverged"].any())
    columns = (
        *("arm", "threshold", "seeds", *(["diverged"] * diverged), "mean", "95 % CI", "learned"),
        *("sd", "range", "mean of best", "E[s]"),
    )
    groups = []
    for context, (name, measure) in enumerate(_contexts(results)):
        rows = [row for row in results.summaries.values() if row.context == context]
        told = [_arm_row(results, measure, row, diverged) for row in rows]
        groups.append(Group(_heading(name, measure), told))
    return Table(columns, 1, groups)


def comparisons_table(results: Results) -> Table:
    """Every comparison, context by context."""
    columns = (
        *("dice", "against", "finding", "threshold", "seeds", "difference", "95 % CI"),
        *("p after Holm", "detectable", "effect size", "won, lost, tied"),
    )
    groups = []
    for context, (name, measure) in enumerate(_contexts(results)):
        rows = [
            _comparison_row(results, measure, control, row)
            for (where, _), compared in results.compared.items()
            if where == context
            for control, row in compared.items()
        ]
        if rows:
            heading = _heading(name, measure) + f", differences in {measure.step_unit}".rstrip(
                " in"
            )
            groups.append(Group(heading, rows))
    return Table(columns, 3, groups)


def left_out_table(left_out: Sequence[LeftOut]) -> list[tuple[str, str, str]]:
    """By reason: how many there are, and which."""
    kinds = Counter(one.reason for one in left_out)
    return [
        (reason, str(count), _which([one for one in left_out if one.reason == reason]))
        for reason, count in kinds.most_common()
    ]


def versions_table(results: Results) -> list[tuple[str, str]]:
    """Each package and its versions."""
    return [
        (name, next(iter(found)) if len(found) == 1 else _mixed(found.items()))
        for name, found in results.sweep.versions.items()
    ]


def _contexts(results: Results) -> list[tuple[str, Measure]]:
    measures = [context.measure for context in results.sweep.contexts]
    return list(zip(results.labels.contexts, measures, strict=True))


def _heading(name: str, measure: Measure) -> str:
    unit = measure.unit if not measure.share else ""
    return ": ".join(filter(None, [name, measure.spoken])) + (f" in {unit}" if unit else "")


def _arm_row(results: Results, measure: Measure, row: Summary, diverged: bool) -> list[str]:
    arm = results.sweep.arms[row.arm]
    learned = {True: "yes", False: "no", None: NONE}[row.learned]
    reach = (row.ci_high - row.ci_low) / 2
    decimals = measure.decimals(reach if reach > 0 else row.mean / 100)

    def told(value: float) -> str:
        return NONE if np.isnan(value) else measure.number(value, decimals)

    sd = NONE if np.isnan(row.sd) else measure.difference(row.sd)
    return [
        ", ".join(filter(None, [short_name(arm.control), results.labels.family(arm)])),
        NONE if arm.threshold is None else str(arm.threshold),
        str(row.n + row.diverged),
        *([str(row.diverged)] * diverged),
        told(row.mean),
        _span(told(row.ci_low), told(row.ci_high)),
        learned,
        measure.with_unit(sd) if measure.share and sd != NONE else sd,
        _span(told(row.min), told(row.max)),
        told(row.best),
        NONE if np.isnan(row.mean_scale) else figures(row.mean_scale),
    ]


def _comparison_row(results: Results, measure: Measure, control: str, row: Comparison) -> list[str]:
    arm = results.sweep.arms[row.arm]
    decimals = places(measure, row) if row.n else 1

    def told(value: float) -> str:
        return NONE if np.isnan(value) else measure.difference(value, decimals)

    p = (
        NONE
        if np.isnan(row.p_holm)
        else "< 0.001"
        if row.p_holm < 0.001
        else figures(row.p_holm, 2)
    )
    return [
        results.labels.family(arm) or "dice",
        short_name(control),
        row.finding,
        str(arm.threshold),
        str(row.n),
        told(row.difference),
        _span(told(row.ci_low), told(row.ci_high)),
        p,
        NONE if np.isnan(row.detectable) else measure.difference(row.detectable),
        NONE if np.isnan(row.effect_size) else figures(row.effect_size, 2),
        f"{row.wins}, {row.losses}, {row.ties}",
    ]


def _span(low: str, high: str) -> str:
    if NONE in (low, high):
        return NONE
    return low if low == high else f"{low.removesuffix(f'{NBSP}%')} to {high}"


def _which(same: Sequence[LeftOut]) -> str:
    details = {one.detail for one in same}
    shared = details.pop() if len(details) == 1 else ""
    named = [
        f"{one.path} ({one.detail})" if one.detail and not shared else one.path
        for one in same[:NAMED]
    ]
    if len(same) > NAMED:
        named.append(f"{len(same) - NAMED} more")
    return listed(named) + (f": {shared}" if shared else "")


def _mixed(found: Iterable[tuple[str, int]]) -> str:
    return ", ".join(f"{version} ({counted(count, 'run')})" for version, count in found)
