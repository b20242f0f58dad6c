"""Threshold by die: a map of the means."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure

from lightning_dice.analysis.phrases import short
from lightning_dice.analysis.readers import Floats
from lightning_dice.analysis.style import house_figure
from lightning_dice.analysis.sweep.arms import Arm
from lightning_dice.analysis.sweep.plots.frames import (
    Drawing,
    Page,
    Panel,
    cells,
    drawings,
    head,
    measure_axis,
    name_panel,
    pages,
    panels,
    those_on,
)
from lightning_dice.analysis.sweep.results import Family, Results

ROOM = 9
"""Most columns of a map whose cells have room for a number."""
_READING = (
    "Each cell is the mean over the seeds, the brighter the better; a white one has no runs with a "
    "value."
)


def heat(results: Results) -> list[Drawing]:
    """Maps of the means, where at least two dice met at least two thresholds."""
    found = [page for same in _groups(results) for page in pages(panels(same))]
    return drawings(
        "threshold-by-die",
        "Threshold by die",
        _READING,
        found,
        partial(_message, results),
        partial(_draw, results),
    )


def _groups(results: Results) -> list[list[Family]]:
    """Families that only context, target and die tell apart, together."""
    together: dict[Arm, list[Family]] = {}
    for family in results.families:
        together.setdefault(family.arm._replace(target="", die=""), []).append(family)
    return [
        same
        for same in together.values()
        if len({family.arm.die for family in same}) > 1
        and len({results.sweep.arms[arm].threshold for f in same for arm in f.arms}) > 1
    ]


def _message(results: Results, page: Page) -> str:
    shown = [
        results.summaries[family.context, arm]
        for panel in those_on(page)
        for family in panel.families
        for arm in family.arms
    ]
    with_value = [row for row in shown if row.n]
    if not with_value:
        return "No arm with dice ended with a value"
    measure = results.context(with_value[0].context).measure
    best = max(with_value, key=lambda row: measure.gain(row.mean))
    arm = results.sweep.arms[best.arm]
    where = results.labels.together(best.context, f"{arm.die} at threshold {arm.threshold}")
    return f"The best mean with dice is {measure.value(best.mean)}: {where}"


def _draw(results: Results, page: Page, message: str) -> Figure:
    rows = max(len({family.arm.die for family in panel.families}) for panel in those_on(page))
    figure = house_figure(1.4 + len(page) * (0.9 + 0.3 * rows))
    axes = figure.subplots(len(page), len(page[0]), squeeze=False)
    tables = {id(panel): _table(results, panel.families) for panel in those_on(page)}
    values = np.concatenate([table[2].ravel() for table in tables.values()])
    low, high = _ends(values)
    mesh = None
    best_is_low = results.context(those_on(page)[0].context).measure.mode == "min"
    colours = "cividis_r" if best_is_low else "cividis"
    for place, panel in cells(page, axes):
        dice, thresholds, means = tables[id(panel)]
        edges = np.arange(len(thresholds) + 1) - 0.5, np.arange(len(dice) + 1) - 0.5
        mesh = place.pcolormesh(*edges, means, cmap=colours, vmin=low, vmax=high)
        place.set_xticks(range(len(thresholds)), [str(t) for t in thresholds], fontsize=9)
        place.set_yticks(range(len(dice)), [short(die, 12) for die in dice], parse_math=False)
        place.invert_yaxis()
        place.tick_params(length=0)
        name_panel(place, results, panel)
        if len(thresholds) * len(page[0]) <= ROOM * 2:
            _write(place, results, panel, means, mesh)
    for place in axes[-1]:
        place.set_xlabel("threshold")
    if mesh is not None:
        bar = figure.colorbar(mesh, ax=axes, location="bottom", fraction=0.05, pad=0.02, aspect=50)
        measure_axis(bar.ax, results.context(those_on(page)[0].context).measure, axis="x")
    head(figure, message)
    return figure


def _table(
    results: Results, families: Sequence[Family]
) -> tuple[list[str], list[int | None], Floats]:
    """Dice, thresholds, and the mean of each; NaN where there is none."""
    arms = results.sweep.arms
    dice = [family.arm.die for family in families]
    thresholds = sorted({arms[arm].threshold or 0 for family in families for arm in family.arms})
    means = np.full((len(dice), len(thresholds)), np.nan)
    for row, family in enumerate(families):
        for arm in family.arms:
            column = thresholds.index(arms[arm].threshold or 0)
            means[row, column] = results.summaries[family.context, arm].mean
    return dice, list(thresholds), means


def _ends(values: Floats) -> tuple[float, float]:
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)
    return low, high if high > low else low + 1.0


def _write(axes: Axes, results: Results, panel: Panel, means: Floats, mesh: QuadMesh) -> None:
    measure = results.context(panel.context).measure
    for (row, column), value in np.ndenumerate(means):
        if np.isfinite(value):
            text = f"{100 * value:.0f}" if measure.share else f"{value:.2g}"
            rgb = mesh.to_rgba(np.array([value]))[0, :3]
            colour = "white" if rgb.sum() < 1.5 else "black"
            axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=8)
