"""How arms learned: the metric over the steps, with the spread over the seeds."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lightning_dice.analysis.style import BLUE, GREEN, INK, ORANGE, VERMILLION, house_figure, thin
from lightning_dice.analysis.sweep.arms import Arm
from lightning_dice.analysis.sweep.plots.frames import (
    Drawing,
    Line,
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
from lightning_dice.analysis.sweep.statistics import MIN_SEEDS, bounds, interval

MOST = 4
"""Most arms of dice in one panel."""
_LOOKS = (
    Line(BLUE, "o", "-"),
    Line(GREEN, "v", "-"),
    Line(ORANGE, "s", "-"),
    Line(VERMILLION, "^", "-"),
)
_READING = (
    f"Bands are 95 % confidence intervals over the seeds, where there are {MIN_SEEDS} or more and "
    "every run of an arm was measured; one that leaves the axes is wider than shown. Dashed, with "
    "hollow marks and in the same colour: the control with the same mean step as the dice."
)


def learning_curves(results: Results) -> pd.DataFrame:
    """The mean curve of each arm in each context.

    Returns:
        ``context``, ``arm``, ``step``, ``mean``, ``ci_low`` and ``ci_high``, of the steps at which
        every run that has a curve was measured: a mean over others each time would jump.
    """
    sweep = results.sweep
    curves = sweep.curves[np.isfinite(sweep.curves["value"].to_numpy(float))]
    curves = curves.merge(sweep.runs[["context", "arm"]], left_on="run", right_index=True)
    grouped = curves.groupby(["context", "arm", "step"])["value"]
    with np.errstate(all="ignore"):
        table = grouped.agg(["count", "mean", "std"]).reset_index()
    most = table.groupby(["context", "arm"])["count"].transform("max")
    table = table[table["count"] == most]
    n, mean, sd = (table[name].to_numpy(float) for name in ("count", "mean", "std"))
    ends = interval(n, mean, sd, bounds(sweep, table["context"]))
    table = table.assign(**dict(zip(("ci_low", "ci_high"), ends, strict=True)))
    return pd.DataFrame(table, columns=["context", "arm", "step", "mean", "ci_low", "ci_high"])


def learning(results: Results) -> list[Drawing]:
    """Figures of the metric over the steps, where it was measured more than once."""
    table = learning_curves(results)
    curves = {
        (int(context), int(arm)): group  # type: ignore[call-overload]
        for (context, arm), group in table.groupby(["context", "arm"])
        if len(group) > 1
    }
    drawn = [
        family
        for family in results.families
        if any((family.context, arm) in curves for arm in family.arms)
    ]
    found = [page for same in _groups(drawn) for page in pages(panels(same))]
    return drawings(
        "learning",
        "How they learned",
        _READING,
        found,
        partial(_message, results),
        partial(_draw, results, curves),
    )


def _groups(families: Sequence[Family]) -> list[list[Family]]:
    """Families for the same figures: of one saving throw, or all where no threshold is swept."""
    if all(len(family.arms) < 2 for family in families):
        return [list(families)] if families else []
    together: dict[Arm, list[Family]] = {}
    for family in families:
        together.setdefault(family.arm._replace(target=""), []).append(family)
    return list(together.values())


def spread(arms: Sequence[int]) -> list[int]:
    """At most four of the arms, from the first to the last."""
    return [arms[place] for place in thin(len(arms), MOST)]


def _message(results: Results, page: Page) -> str:
    ends: list[str] = []
    shown = [(p.context, a) for p in those_on(page) for f in p.families for a in f.arms]
    measure = results.context(shown[0][0]).measure
    means = [results.summaries[key].mean for key in shown if results.summaries[key].n]
    plain = [results.summary(panel.context, Arm("plain")) for panel in those_on(page)]
    there = [row.mean for row in plain if row is not None and row.n]
    for name, values in (("dice", means), ("plain", there)):
        if values:
            ends.append(f"{name} at {measure.span(min(values), max(values))}")
    return f"The means ended: {', '.join(ends)}" if ends else "No arm ended with a value"


def _draw(
    results: Results, curves: dict[tuple[int, int], pd.DataFrame], page: Page, message: str
) -> Figure:
    figure = house_figure(1.6 + 2.3 * len(page))
    axes = figure.subplots(len(page), len(page[0]), squeeze=False)
    for place, panel in cells(page, axes):
        _draw_panel(place, results, curves, panel)
        name_panel(place, results, panel)
        measure_axis(place, results.context(panel.context).measure, place in axes[:, 0])
    for place in axes[-1]:
        place.set_xlabel("optimizer step")
    share_legend(figure)
    head(figure, message)
    return figure


def _draw_panel(
    axes: Axes, results: Results, curves: dict[tuple[int, int], pd.DataFrame], panel: Panel
) -> None:
    plain = results.summary(panel.context, Arm("plain"))
    if plain is not None and (panel.context, plain.arm) in curves:
        _line(axes, curves[panel.context, plain.arm], Line(INK, "", "-"), "plain")
    arms = [arm for family in panel.families for arm in family.arms]
    several = len(panel.families) > 1
    named = "same mean step, by colour"
    for look, place in zip(_LOOKS, spread(arms), strict=False):
        arm = results.sweep.arms[place]
        name = results.labels.throw(arm) if several else ""
        label = ", ".join(filter(None, [name, results.labels.threshold(arm)])) or "dice"
        if (panel.context, place) in curves:
            _line(axes, curves[panel.context, place], look, label)
        control = results.summary(panel.context, arm.counterpart("plain_mean"))
        if control is not None and (panel.context, control.arm) in curves:
            hollow = look._replace(dashes=(0, (4, 2)))
            _line(axes, curves[panel.context, control.arm], hollow, named, markerfacecolor="white")
            named = ""


def _line(axes: Axes, curve: pd.DataFrame, look: Line, label: str, **more: str) -> None:
    x, mean, low, high = (
        curve[name].to_numpy(float) for name in ("step", "mean", "ci_low", "ci_high")
    )
    every = max(len(x) // 8, 1)
    draw_line(axes, x, mean, low, high, look, label, markevery=every, linewidth=1.3, **more)
