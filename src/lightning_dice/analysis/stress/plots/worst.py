"""How far the loss can rise near the weights."""

from __future__ import annotations

from functools import partial

import pandas as pd
from matplotlib.figure import Figure

from lightning_dice.analysis.stress.gather import Stress
from lightning_dice.analysis.stress.plots.frames import (
    draw_arms,
    hints,
    legend_columns,
    name_axes,
    panels,
    shown_arms,
)
from lightning_dice.analysis.sweep.plots.frames import Drawing, drawings, head, share_legend
from lightning_dice.analysis.sweep.statistics import MIN_SEEDS

_PANELS = {
    "sam": ("within a ball", "radius"),
    "adaptive": ("in units of each weight", "radius, in units of each weight"),
}
_READING = (
    "What projected gradient ascent finds, which the true worst case may exceed; bands are 95 % "
    f"confidence intervals over {MIN_SEEDS} seeds or more. Where little was learned, little can be "
    "lost."
)


def worst_case(stress: Stress) -> list[Drawing]:
    """A figure for each context in which it was measured."""
    rows = stress.points[stress.points["probe"] == "worst case"]
    found = list(rows.groupby("context"))
    reading = _READING + hints(stress, [one["arm"].tolist() for _, one in found])
    return drawings(
        "worst-case",
        "The worst case near the weights",
        reading,
        found,
        partial(_message, stress),
        partial(_draw, stress),
    )


def _message(stress: Stress, one: tuple[int, pd.DataFrame]) -> str:
    name = stress.labels.contexts[one[0]]
    text = "ow far the loss rises, at the worst, with the size of a step"
    return f"{name}: h{text}" if name else f"H{text}"


def _draw(stress: Stress, one: tuple[int, pd.DataFrame], message: str) -> Figure:
    rows = one[1]
    arms = shown_arms(stress, sorted({int(arm) for arm in rows["arm"]}))
    figure, given = panels(list(dict.fromkeys(rows["kind"])), 2.3, arms)
    for place, (axes, kind) in enumerate(given):
        # Nothing below zero can be shown in a logarithm: where ascent found no rise at all.
        draw_arms(axes, rows[(rows["kind"] == kind) & (rows["mean"] > 0)], arms)
        name, label = _PANELS.get(kind, (kind, "radius"))
        name_axes(axes, name)
        axes.set_xlabel(label, fontsize=9)
        axes.set(xscale="log", yscale="log")
        lowest = rows.loc[(rows["kind"] == kind) & (rows["mean"] > 0), "mean"].min()
        axes.set_ylim(bottom=lowest / 2)
        axes.set_ylabel("rise of the loss (nats)" if place == 0 else "")
    share_legend(figure, legend_columns(arms))
    head(figure, message)
    return figure
