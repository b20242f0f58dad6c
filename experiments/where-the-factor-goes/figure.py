"""The figure: three ways in which a factor on a gradient does not reach the weights."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from lightning_dice.analysis.style import BLUE, INK, VERMILLION, draw

NAIVE: dict[str, Any] = {"color": VERMILLION, "marker": "v", "markersize": 5, "linestyle": "--"}
KIT: dict[str, Any] = {"color": BLUE, "marker": "o", "markersize": 4.5}
GRADIENT: dict[str, Any] = {
    **{"color": BLUE, "marker": "o", "markersize": 9, "markerfacecolor": "none"},
    **{"linestyle": "none", "markeredgewidth": 1.3},
}
"""The target gradient of this kit, where it differs from the target update: around the naive."""


class Row(NamedTuple):
    """One measured number."""

    case: str
    optimizer: str
    arm: str
    seed: int
    step: int
    scale: float | None
    quantity: str
    value: float


def draw_figure(rows: Sequence[Row]) -> bytes:
    """The PNG of the figure."""
    return draw(lambda: _figure(rows))


def medians(rows: Sequence[Row], by: str, **wanted: str) -> tuple[list[float], list[float]]:
    """The median over seeds of what is ``wanted``, for each value of the column ``by``."""
    values: dict[float, list[float]] = {}
    for row in rows:
        if all(getattr(row, column) == value for column, value in wanted.items()):
            values.setdefault(getattr(row, by), []).append(row.value)
    return list(values), [statistics.median(some) for some in values.values()]


def _figure(rows: Sequence[Row]) -> Figure:
    figure = Figure(figsize=(8.4, 3.8), layout=ConstrainedLayoutEngine(wspace=0.07))
    adamw, clipping, discards = figure.subplots(ncols=3)
    _draw_adamw(adamw, rows)
    _draw_clipping(clipping, rows)
    _draw_discards(discards, rows)
    return figure


def _draw_adamw(axes: Axes, rows: Sequence[Row]) -> None:
    _shares(axes, "Under AdamW a scaled\ngradient steps forwards")
    axes.set_ylabel("step made (1 = the full step)")
    for arm, colour in (("naive", VERMILLION), ("gradient", BLUE)):
        run = [row for row in rows if row.case == "d20 run" and row.arm == arm]
        run = [row for row in run if row.scale is not None]  # a discard has no scale
        scales, made = [row.scale or 0.0 for row in run], [row.value for row in run]
        axes.scatter(scales, made, s=11, color=colour, alpha=0.35, linewidths=0)
    for arm, look in (("naive", NAIVE), ("gradient", GRADIENT), ("update", KIT)):
        axes.plot(*medians(rows, "scale", case="one step", optimizer="AdamW", arm=arm), **look)
    _say(axes, -1.03, 1.33, "triangles: naive", VERMILLION)
    _say(axes, -1.03, 1.14, "circles: kit, target gradient", BLUE)
    _say(axes, -1.03, 0.12, "dots:\nd20 runs\nof both", INK)
    _say(axes, 0.06, -0.72, "kit,\ntarget update", BLUE)


def _draw_clipping(axes: Axes, rows: Sequence[Row]) -> None:
    _shares(axes, "Clipping leaves a roll\nits sign alone")
    axes.tick_params(labelleft=False)
    scales, made = medians(rows, "scale", case="one step, clipped", arm="naive")
    for side in (-1, 0, 1):  # what is small enough not to be clipped was not measured
        here = [(x, y) for x, y in zip(scales, made, strict=True) if (x > 0) - (x < 0) == side]
        axes.plot(*zip(*here, strict=True), **NAIVE)
    for arm in ("gradient", "update"):
        axes.plot(*medians(rows, "scale", case="one step, clipped", arm=arm), **KIT)
    _say(axes, -1.03, 1.14, "naive: scaled, then clipped", VERMILLION)
    _say(axes, 0.06, -0.72, "kit,\nboth targets", BLUE)


def _draw_discards(axes: Axes, rows: Sequence[Row]) -> None:
    axes.set_title("A gradient of 0\nis not a discard", loc="left")
    axes.set_xlabel("discarded steps")
    axes.set_ylabel("distance moved (in full steps)")
    for name, marker in (("AdamW", "v"), ("momentum SGD", "^")):
        wanted = {"case": "discards", "optimizer": name, "quantity": "distance"}
        for arm in ("gradient", "update"):
            axes.plot(*medians(rows, "step", arm=arm, **wanted), **KIT, markevery=2)
        steps, moved = medians(rows, "step", arm="naive", **wanted)
        axes.plot(steps, moved, **{**NAIVE, "marker": marker}, markevery=2)
    axes.set_xticks([0, 10, 20])
    _say(axes, 0, 7.45, "naive:\ngradient\ntimes 0", VERMILLION)
    _say(axes, 16.5, 8.45, "AdamW", VERMILLION, ha="right")
    _say(axes, 12.5, 5.3, "momentum\nSGD", VERMILLION)
    _say(axes, 1.5, 0.35, "kit, both targets: none", BLUE)


def _shares(axes: Axes, title: str) -> None:
    axes.set_title(title, loc="left")
    axes.set_xlabel("scale that was rolled")
    axes.set_xlim(-1.1, 1.1)
    axes.set_ylim(-1.12, 1.55)
    ticks = [-1, -0.5, 0, 0.5, 1]
    names = [f"{tick:g}".replace("-", "\N{MINUS SIGN}") for tick in ticks]
    axes.set_xticks(ticks, names)
    axes.set_yticks(ticks, names)
    axes.axhline(0, color=INK, linewidth=0.5, zorder=0)
    axes.axvline(0, color=INK, linewidth=0.5, zorder=0)


def _say(axes: Axes, x: float, y: float, text: str, colour: str, ha: str = "left") -> None:
    axes.text(x, y, text, color=colour, fontsize=9.5, ha=ha, linespacing=1.15)
