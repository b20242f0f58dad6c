"""The loss along one random direction, and along two."""

from __future__ import annotations

import math
import textwrap

import numpy as np
from matplotlib.figure import Figure

from lightning_dice.analysis.landscape.data import Landscape
from lightning_dice.analysis.landscape.looks import STROKES
from lightning_dice.analysis.landscape.plots.maps import draw_bar, draw_map
from lightning_dice.analysis.landscape.scale import Scale
from lightning_dice.analysis.phrases import short
from lightning_dice.analysis.style import TITLE, blank, entitle, house_figure

_COLUMNS = 3
FIRST = "random direction (in lengths of the filters)"


def slice_lines(landscape: Landscape, title: str) -> Figure:
    """Each run's loss along the first direction."""
    figure, axes = blank(3.4)
    for one, stroke in zip(landscape.slices, STROKES, strict=False):
        shown = np.where(np.isfinite(one.line), one.line, np.nan)
        label = short(one.label)
        axes.plot(one.axis, shown, color=stroke.colour, linestyle=stroke.dashes, label=label)
    scale = Scale.of(*(one.line for one in landscape.slices))
    axes.set_yscale(scale.name)
    axes.set_xlabel(FIRST)
    axes.set_ylabel("loss, log scale" if scale.log else "loss")
    axes.margins(x=0.01)
    if len(landscape.slices) > 1:
        axes.legend()
    entitle(axes, title)
    return figure


def slice_maps(landscape: Landscape, title: str) -> Figure:
    """Each run's loss along both directions, on one scale of colours."""
    count = len(landscape.slices)
    columns = min(count, _COLUMNS)
    rows = math.ceil(count / columns)
    figure = house_figure(4.6 if count == 1 else 0.7 + rows * (2.5 if columns == 2 else 2.1))
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    scale = Scale.of(*(one.losses for one in landscape.slices))
    drawn = None
    for axes, one in zip(grid.flat, landscape.slices, strict=False):
        map_ = draw_map(axes, one.axis, one.axis, one.losses, scale, "cividis")
        drawn = drawn if map_ is None else map_
        axes.plot(0, 0, marker="+", color="white", markersize=9, markeredgewidth=1.6)
        axes.set_aspect("equal")
        if count > 1:
            axes.set_title(short(one.label, 26), fontsize=9.5, parse_math=False)
    for axes in grid.flat[count:]:
        axes.set_axis_off()
    draw_bar(figure, drawn, grid, scale)
    figure.supxlabel("first random direction", fontsize=10)
    figure.supylabel("second random direction", fontsize=10)
    figure.suptitle(
        textwrap.fill(title, TITLE), fontsize=11.5, fontweight="bold", x=0.02, ha="left"
    )
    return figure
