"""The last threshold that each optimizer withstands, family by family."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.markers import CARETLEFT, CARETRIGHT

from lightning_dice.analysis.phrases import short
from lightning_dice.analysis.style import FAINT, GREY, house_figure
from lightning_dice.analysis.sweep.plots.frames import Drawing, Line, drawings, head
from lightning_dice.analysis.sweep.statistics import MIN_SEEDS
from lightning_dice.analysis.tolerance.plots.panels import Row, looks, pages, panels
from lightning_dice.analysis.tolerance.rows import BreakdownRow, breakdown_rows
from lightning_dice.analysis.tolerance.study import Tolerance

_READING = (
    "Each mark is the mean over the seeds, with its 95 % confidence interval where "
    f"{MIN_SEEDS} seeds or more differ; one that leaves the axes is wider than shown. Optimizers "
    "stand in the order of their rank; hollow marks are not clipped, where that differs. Grey "
    "lines are the thresholds trained with. A grey arrow at the right end: some seed withstands "
    "all of them; at the left: some none."
)


def breakdown(study: Tolerance) -> list[Drawing]:
    """Figures of the breakdown thresholds, where any is known."""
    if not len(study.breakdowns):
        return []
    return drawings(
        "breakdown",
        "Where each optimizer breaks",
        _READING,
        pages(study),
        lambda rows: _message(study, rows),
        lambda rows, said: _draw(study, rows, said),
    )


def _message(study: Tolerance, rows: Sequence[Row]) -> str:
    shown = {family for row in rows for family in row}
    own = study.breakdowns[study.breakdowns["family"].isin(shown)]
    margin = study.within.spoken(study.measure)
    if not len(own):
        return f"No threshold is known up to which runs end within {margin} of plain"
    means = own.groupby("subject")["mean"].mean()
    ranked = sorted((s for s in study.order if s in means.index), key=lambda s: -means[s])
    told = [
        f"{_average(own[own['subject'] == subject])} with {study.subjects[subject].name}"
        for subject in (ranked[0], ranked[-1])
    ]
    return f"On average within {margin} of plain up to threshold {', '.join(dict.fromkeys(told))}"


def _average(rows: pd.DataFrame) -> str:
    """The mean threshold of an optimizer over its families, unless no seed withstands any."""
    if (rows["below"] == rows["n"]).all():
        return f"below {rows['lowest'].min()}"
    return f"{rows['mean'].mean():.1f}{' or more' if rows['beyond'].any() else ''}"


def _draw(study: Tolerance, rows: Sequence[Row], message: str) -> Figure:
    count = len(study.order)
    figure = house_figure(1.0 + (0.55 + 0.19 * count) * len(rows))
    axes = figure.subplots(len(rows), len(rows[0]), squeeze=False, sharey=True)
    found, look = breakdown_rows(study), looks(study)
    for place, family in panels(study, rows, axes):
        _grid(place, study, family)
        for line, subject in enumerate(study.order):
            row = found.get((subject, family))
            if row is not None:
                hollow = study.subjects[subject].clipping == "not clipped"
                _mark(place, row, line, look[subject], hollow)
    names = [short(study.subjects[subject].name, 32) for subject in study.order]
    for place in axes[:, 0]:
        place.set_yticks(range(count), names, fontsize=8.5, parse_math=False)
    axes[0, 0].set_ylim(count - 0.5, -0.5)
    for place in axes.flat:
        place.tick_params(axis="y", length=0)
    for place in axes[-1]:
        place.set_xlabel("last threshold withstood")
    head(figure, message)
    return figure


def _grid(axes: Axes, study: Tolerance, family: int) -> None:
    thresholds = [study.sweep.arms[arm].threshold or 0 for arm in study.families[family].arms]
    for threshold in thresholds:
        axes.axvline(threshold, color=FAINT, linewidth=0.5, zorder=0)
    axes.set_xticks(thresholds)
    low, high = min(thresholds), max(thresholds)
    room = max((high - low) * 0.04, 0.6)
    axes.set_xlim(low - 1 - room, high + 1 + room)
    axes.tick_params(axis="x", labelsize=8.5)


def _mark(axes: Axes, row: BreakdownRow, line: int, look: Line, hollow: bool) -> None:
    if np.isfinite(row.ci_low):
        axes.plot([row.ci_low, row.ci_high], [line, line], color=look.colour, linewidth=1.4)
    face = "white" if hollow else look.colour
    (mark,) = axes.plot([row.mean], [line], color=look.colour, marker=look.marker, markersize=5.5)
    mark.set_markerfacecolor(face)
    for ends, at, caret in (
        (row.beyond, row.highest + 1, CARETRIGHT),
        (row.below, row.lowest - 1.5, CARETLEFT),  # beside a mark that may be at one below
    ):
        if ends:
            axes.plot([at], [line], color=GREY, marker=caret, markersize=4, clip_on=False)
