"""What each threshold came to: dice and their controls, with the odds on the same axis."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from lightning_dice.analysis.style import FAINT, GREEN, GREY, INK, VERMILLION, house_figure
from lightning_dice.analysis.sweep.arms import CONTROLS, DICE, Arm
from lightning_dice.analysis.sweep.labels import short_name
from lightning_dice.analysis.sweep.plots.frames import (
    LINES,
    Drawing,
    Page,
    Panel,
    cells,
    draw_line,
    drawings,
    head,
    measure_axis,
    name_panel,
    pages,
    panels,
    share_legend,
    those_on,
)
from lightning_dice.analysis.sweep.results import Family, Results
from lightning_dice.analysis.sweep.standing import verdict_in_brief
from lightning_dice.analysis.sweep.statistics import MIN_SEEDS

_READING = (
    "Bands are 95 % confidence intervals over the seeds; an arm with fewer than "
    f"{MIN_SEEDS} seeds has none, and one that leaves the axes is wider than shown. Below, on the "
    "same axis, the expected scale E[s] and the efficiency E[s]\u00b2/E[s\u00b2] of the odds."
)


def thresholds(results: Results) -> list[Drawing]:
    """Figures of the metric against the threshold, where there are several thresholds."""
    swept = [family for family in results.families if len(family.arms) > 1]
    found = [(throw, page) for throw, same in _by_throw(swept) for page in pages(panels(same))]

    def message(one: tuple[Arm, Page]) -> str:
        name, said = results.labels.throw(one[0]), _message(results, one[1])
        return f"{name}: {said}" if name else said

    return drawings(
        "thresholds",
        "What each threshold came to",
        _READING,
        found,
        message,
        lambda one, said: _draw(results, one[1], said),
    )


def _by_throw(families: Sequence[Family]) -> list[tuple[Arm, list[Family]]]:
    """Families that only context and target tell apart, together."""
    together: dict[Arm, list[Family]] = {}
    for family in families:
        together.setdefault(family.arm._replace(target=""), []).append(family)
    return list(together.items())


def _message(results: Results, page: Page) -> str:
    rows = [
        results.summaries[family.context, arm]
        for panel in those_on(page)
        for family in panel.families
        for arm in family.arms
    ]
    return verdict_in_brief(results, rows)


def _draw(results: Results, page: Page, message: str) -> Figure:
    columns = len(page[0])
    figure = house_figure(1.5 + 2.1 * len(page) + 1.0)
    axes = figure.subplots(
        len(page) + 1,
        columns,
        squeeze=False,
        sharex="col",
        height_ratios=[*[2.1] * len(page), 1.0],
    )
    for place, panel in cells(page, axes):
        _draw_panel(place, results, panel)
        name_panel(place, results, panel)
        measure = results.context(panel.context).measure
        measure_axis(place, measure, label=place in axes[:, 0])
    for column, place in enumerate(axes[-1]):
        _draw_odds(place, results, [row[column] for row in page])
        place.set_xlabel("threshold")
        place.xaxis.set_major_locator(MaxNLocator(integer=True))
    share_legend(figure)
    head(figure, message)
    return figure


def _draw_panel(axes: Axes, results: Results, panel: Panel) -> None:
    (family,) = panel.families
    plain = results.summary(panel.context, Arm("plain"))
    if plain is not None and plain.n:
        axes.axhspan(plain.ci_low, plain.ci_high, color=FAINT, alpha=0.5, linewidth=0)
        axes.axhline(plain.mean, color=GREY, linewidth=1.2, label="plain")
    for control in (DICE, *CONTROLS[1:]):
        dice = [results.sweep.arms[arm] for arm in family.arms]
        arms = dice if control == DICE else [arm.counterpart(control) for arm in dice]
        found = [results.summary(panel.context, arm) for arm in arms]
        rows = [
            (arm.threshold, row.mean, row.ci_low, row.ci_high)
            for arm, row in zip(arms, found, strict=True)
            if row is not None and row.n
        ]
        if rows:
            x, mean, low, high = np.array(rows, dtype=float).T
            name = "dice" if control == DICE else short_name(control)
            on_top = 3 if control == DICE else 2
            draw_line(axes, x, mean, low, high, LINES[control], name, zorder=on_top)
    baseline = results.context(panel.context).baseline
    if baseline is not None:
        axes.axhline(baseline, color=INK, linewidth=1, linestyle=(0, (1, 2)), label="baseline")


def _draw_odds(axes: Axes, results: Results, column: Sequence[Panel | None]) -> None:
    rows = {
        results.sweep.arms[arm].threshold: results.summaries[family.context, arm]
        for panel in column
        if panel is not None
        for family in panel.families
        for arm in family.arms
    }
    there = sorted(
        (threshold or 0, row.mean_scale, row.efficiency) for threshold, row in rows.items()
    )
    x, mean, efficiency = np.array(there, dtype=float).T
    axes.plot(x, mean, color=GREEN, marker="x", markersize=4, linewidth=1.2, label="E[s]")
    axes.plot(x, efficiency, color=VERMILLION, marker="+", markersize=5, linestyle="--")
    axes.lines[-1].set(linewidth=1.2, label="efficiency")
    axes.axhline(0, color=INK, linewidth=0.5)
