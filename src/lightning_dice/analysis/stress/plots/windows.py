"""At which learning rates training ends about as well as it can."""

from __future__ import annotations

from functools import partial

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lightning_dice.analysis.phrases import figures, listed
from lightning_dice.analysis.stress.gather import Stress
from lightning_dice.analysis.stress.over_runs import Window
from lightning_dice.analysis.stress.plots.frames import Shown, hints, shown_arms
from lightning_dice.analysis.style import FAINT, house_figure
from lightning_dice.analysis.sweep.plots.frames import Drawing, drawings, head

_READING = (
    "A bar a seed: the rates around the best one (the mark) with which training ends within 1 % of "
    "its best. An arrow is where the grid of rates ends, so that the window may go on."
)


def learning_rates(stress: Stress) -> list[Drawing]:
    """A figure for each context in which the learning rate was swept."""
    found = [same for _, same in stress.windows.groupby("place")]
    reading = _READING + hints(stress, [one["arm"].tolist() for one in found])
    return drawings(
        "learning-rates",
        "Which learning rates work",
        reading,
        found,
        partial(_message, stress),
        partial(_draw, stress),
    )


def _message(stress: Stress, rows: pd.DataFrame) -> str:
    arms = shown_arms(stress, sorted({int(arm) for arm in rows["arm"]}))
    widths = {arm: float(rows.loc[rows["arm"] == arm, "decades"].mean()) for arm in {*rows["arm"]}}
    name = str(rows["name"].iloc[0])
    if len(arms) < 4:
        told = listed([f"{one.name} {figures(widths[one.arm], 2)}" for one in arms])
        text = f"Width of the window in decades: {told}"
    else:
        most = max(widths, key=lambda arm: widths[arm])
        widest = stress.labels.arm(stress.sweep.arms[most])
        text = f"Widest is the window of {widest}: {figures(widths[most], 2)} decades"
    return f"{name}: {text}" if name else text


def _draw(stress: Stress, rows: pd.DataFrame, message: str) -> Figure:
    arms = shown_arms(stress, sorted({int(arm) for arm in rows["arm"]}))
    figure = house_figure(1.4 + 0.45 * len(arms))
    axes = figure.subplots()
    axes.set_xscale("log")
    for place, arm in enumerate(arms):
        _draw_arm(axes, rows[rows["arm"] == arm.arm], arm, place)
    axes.set_yticks(range(len(arms)), [arm.name for arm in arms], fontsize=9, parse_math=False)
    axes.set_ylim(len(arms) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    rates = sorted({*rows["low"], *rows["high"], *rows["best"]})
    axes.set_xticks(rates, [f"{rate:g}" for rate in rates])
    axes.minorticks_off()
    axes.grid(axis="x", color=FAINT, linewidth=0.4)
    axes.set_xlabel("learning rate")
    head(figure, message)
    return figure


def _draw_arm(axes: Axes, rows: pd.DataFrame, arm: Shown, place: int) -> None:
    colour = arm.look.colour
    found = [Window._make(row) for row in rows.sort_values("seed")[[*Window._fields]].to_numpy()]
    for number, one in enumerate(found):
        y = place + 0.7 * ((number + 0.5) / len(rows) - 0.5)
        axes.plot([one.low, one.high], [y, y], color=colour, linewidth=1.6)
        axes.plot([one.best], [y], color=colour, marker=arm.look.marker, markersize=4)
        for at, marker, cut in ((one.low, "<", one.cut_low), (one.high, ">", one.cut_high)):
            if cut:
                axes.plot([at], [y], color=colour, marker=marker, markersize=5)
