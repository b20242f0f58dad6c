"""Arm by arm: for sweeps over something else than the threshold."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lightning_dice.analysis.phrases import short
from lightning_dice.analysis.style import FAINT, INK, house_figure
from lightning_dice.analysis.sweep.arms import DICE
from lightning_dice.analysis.sweep.plots.frames import (
    LINES,
    Drawing,
    drawings,
    head,
    measure_axis,
)
from lightning_dice.analysis.sweep.results import Results, Summary
from lightning_dice.analysis.sweep.statistics import MIN_SEEDS

ROWS = 32
"""Most arms of one figure."""
_READING = (
    "Each mark is an arm's mean over its seeds, with its 95 % confidence interval where there are "
    f"{MIN_SEEDS} seeds or more; filled marks are dice. A dotted line is the baseline, where it is "
    "near enough to be seen."
)


def dots(results: Results) -> list[Drawing]:
    """Figures of the arms of contexts in which no threshold was swept."""
    swept = {family.context for family in results.families if len(family.arms) > 1}
    rows = [row for row in results.summaries.values() if row.context not in swept and row.n]
    found = [
        same[i : i + ROWS]
        for measure in dict.fromkeys(context.measure for context in results.sweep.contexts)
        for same in [[row for row in rows if results.context(row.context).measure == measure]]
        for i in range(0, len(same), ROWS)
        if len(same) > 1
    ]
    return drawings(
        "arms", "Arm by arm", _READING, found, partial(_message, results), partial(_draw, results)
    )


def _message(results: Results, rows: Sequence[Summary]) -> str:
    measure = results.context(rows[0].context).measure
    best = max(rows, key=lambda row: measure.gain(row.mean))
    return f"The best mean is {measure.value(best.mean)}: {_name(results, best)}"


def _name(results: Results, row: Summary) -> str:
    return results.labels.together(row.context, results.labels.arm(results.sweep.arms[row.arm]))


def _draw(results: Results, rows: Sequence[Summary], message: str) -> Figure:
    lines = _lines(results, rows)
    figure = house_figure(1.5 + 0.22 * len(lines))
    axes = figure.subplots()
    for place, (_, row) in enumerate(lines):
        if row is not None:
            _draw_arm(axes, results, row, place)
    _draw_baselines(axes, results, lines)
    names = [short(name, 46) for name, _ in lines]
    axes.set_yticks(range(len(lines)), names, fontsize=8.5, parse_math=False)
    for label, (_, row) in zip(axes.get_yticklabels(), lines, strict=True):
        label.set_fontweight("bold" if row is None else "normal")
    axes.set_ylim(len(lines) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color=FAINT, linewidth=0.4)
    measure_axis(axes, results.context(rows[0].context).measure, axis="x")
    head(figure, message)
    return figure


def _lines(results: Results, rows: Sequence[Summary]) -> list[tuple[str, Summary | None]]:
    """A name and an arm for each line; a context with a name has a line for it."""
    lines: list[tuple[str, Summary | None]] = []
    before = None
    for row in rows:
        if row.context != before and results.labels.contexts[row.context]:
            lines.append((results.labels.contexts[row.context], None))
        lines.append((results.labels.arm(results.sweep.arms[row.arm]), row))
        before = row.context
    return lines


def _draw_arm(axes: Axes, results: Results, row: Summary, place: int) -> None:
    control = results.sweep.arms[row.arm].control
    look = LINES[control]
    if np.isfinite(row.ci_low):
        axes.plot([row.ci_low, row.ci_high], [place, place], color=look.colour, linewidth=1.4)
    face = look.colour if control == DICE else "white"
    axes.plot([row.mean], [place], color=look.colour, marker=look.marker, markerfacecolor=face)


def _draw_baselines(
    axes: Axes, results: Results, lines: Sequence[tuple[str, Summary | None]]
) -> None:
    """Beside the arms of each context its baseline, unless it is so far off as to flatten them."""
    low, high = axes.dataLim.intervalx
    for place, (_, row) in enumerate(lines):
        baseline = None if row is None else results.context(row.context).baseline
        if baseline is not None and low - (high - low) <= baseline <= high + (high - low):
            ends = [place - 0.5, place + 0.5]
            axes.plot([baseline] * 2, ends, color=INK, linewidth=1, linestyle=(0, (1, 2)))
