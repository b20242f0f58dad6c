"""The tables of the page and of the files beside it."""

from __future__ import annotations

import numpy as np
import pandas as pd

from lightning_dice.analysis.facts import NONE
from lightning_dice.analysis.phrases import NBSP
from lightning_dice.analysis.stress.gather import Stress
from lightning_dice.analysis.stress.measures import LARGEST, TRACE
from lightning_dice.analysis.stress.parts import Part, results_of
from lightning_dice.analysis.sweep import layout
from lightning_dice.analysis.sweep.labels import short_name
from lightning_dice.analysis.sweep.layout import Group, Table
from lightning_dice.analysis.sweep.results import Results, Summary
from lightning_dice.analysis.sweep.statistics import BETTER, WORSE
from lightning_dice.analysis.sweep.tables import tables as sweep_tables

_NO_MEASURE = ["best", "E[s]", "efficiency", "learned", "diverged"]
"""Columns of a sweep's table of arms that say nothing of a measure."""
_SHOWN = ("clean", "rounding", "calibration", "curvature")
"""Probes whose values no curve shows."""


def tables(stress: Stress) -> dict[str, pd.DataFrame]:
    """Each table by its name: ``measures``, ``comparisons``, ``left_out``.

    ``measures`` has a row for every measure and arm, those of single runs are in their folders;
    where there are learning-rate windows, ``windows`` has one for each arm and seed.
    """
    tested = sweep_tables(stress.results)
    every = stress.all_results or stress.results
    found = {
        "measures": sweep_tables(every)["arms"].drop(columns=_NO_MEASURE),
        "comparisons": tested["comparisons"].assign(finding=_findings(stress)),
        "left_out": tested["left_out"],
    }
    if len(stress.windows):
        arms = [stress.labels.arm(stress.sweep.arms[arm]) for arm in stress.windows["arm"]]
        shown = stress.windows.assign(arm=arms).drop(columns=["place", "run"])
        found["windows"] = shown.rename(columns={"name": "context"})
    return found


def tested_table(stress: Stress) -> Table:
    """Every arm by the measures that are tested."""
    return _arms(stress.results, stress.tested)


def others_table(stress: Stress) -> Table | None:
    """Every arm by what was measured once and is not tested."""
    tested = {one.measure.metric for one in stress.tested}
    parts = [
        part._replace(measure=part.measure._replace(metric=name))
        for part in stress.every
        if part.values["probe"] in _SHOWN and (name := _name(part)) not in tested
    ]
    return _arms(results_of(stress.sweep, parts, compared=False), parts) if parts else None


def comparisons_table(stress: Stress) -> Table:
    """Every comparison, each in its measure's words."""
    table = layout.comparisons_table(stress.results)
    words = iter(_findings(stress))
    groups = [
        Group(group.heading, [[*row[:2], next(words), *row[3:]] for row in group.rows])
        for group in table.groups
    ]
    return table._replace(groups=groups)


def _findings(stress: Stress) -> list[str]:
    table = stress.results.comparisons
    return [
        dict(zip((BETTER, WORSE), stress.tested[context].words, strict=True)).get(finding, finding)
        for context, finding in zip(table["context"], table["finding"], strict=True)
    ]


def _name(part: Part) -> str:
    metric, probe, kind = part.measure.metric, part.values["probe"], part.values["kind"]
    if probe == "clean":
        return f"{metric} on clean data"
    if probe == "rounding":
        return f"{metric} after rounding to {kind}"
    if kind == "eigenvalue":
        place = int(part.values["strength"])
        return LARGEST if place == 1 else f"Hessian eigenvalue {place}"
    return TRACE if kind == "trace" else metric


def _arms(results: Results, parts: list[Part] | tuple[Part, ...]) -> Table:
    thresholds = any(arm.threshold is not None for arm in results.sweep.arms)
    columns = ("arm", *["threshold"] * thresholds, "seeds", "mean", "95 % CI", "sd", "range")
    groups = []
    for place, part in enumerate(parts):
        rows = [row for row in results.summaries.values() if row.context == place]
        unit = f" in {part.measure.unit}" if part.measure.unit and not part.measure.share else ""
        heading = ": ".join(filter(None, [part.name, part.measure.spoken]))
        groups.append(
            Group(f"{heading}{unit}", [_row(results, part, row, thresholds) for row in rows])
        )
    return Table(columns, 1, groups)


def _row(results: Results, part: Part, row: Summary, thresholds: bool) -> list[str]:
    arm, measure = results.sweep.arms[row.arm], part.measure
    reach = (row.ci_high - row.ci_low) / 2
    decimals = measure.decimals(reach if reach > 0 else row.mean / 100)

    def told(value: float) -> str:
        return NONE if np.isnan(value) else measure.number(value, decimals)

    def span(low: float, high: float) -> str:
        ends = [told(low), told(high)]
        if NONE in ends or ends[0] == ends[1]:
            return ends[0]
        return f"{ends[0].removesuffix(f'{NBSP}%')} to {ends[1]}"

    def deviation(value: float) -> str:
        text = measure.difference(value)
        return measure.with_unit(text) if measure.share else text

    return [
        ", ".join(filter(None, [short_name(arm.control), results.labels.family(arm)])),
        *[NONE if arm.threshold is None else str(arm.threshold)] * thresholds,
        str(row.n),
        told(row.mean),
        span(row.ci_low, row.ci_high),
        NONE if np.isnan(row.sd) else deviation(row.sd),
        span(row.min, row.max),
    ]
