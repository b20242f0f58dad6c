"""A map of losses: filled contours, and hatches where a loss is not finite."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, LinearSegmentedColormap
from matplotlib.figure import Figure

from lightning_dice.analysis.landscape.scale import Scale
from lightning_dice.analysis.phrases import figures
from lightning_dice.analysis.readers import Floats
from lightning_dice.analysis.style import GREY

GROUND: Colormap = LinearSegmentedColormap.from_list("ground", ["#FBFAF7", "#D5D3CC", "#8E8C86"])
"""Pale, so that every outcome's marker stands out on it; low is light."""
_TICKS = 6


def draw_map(
    axes: Axes, first: Floats, second: Floats, losses: Floats, scale: Scale, colours: Any
) -> Any:
    """Draw losses ``(second, first)`` and return what a bar of colours is made of."""
    levels = scale.levels()
    shown = np.ma.masked_invalid(losses)
    if shown.mask.any():
        axes.set_facecolor("#EEEEEE")
        axes.patch.set_hatch("////")
        axes.patch.set_edgecolor(GREY)
    if shown.count() == 0:
        return None
    filled = axes.contourf(
        first, second, shown, levels=levels, cmap=colours, norm=scale.norm(), extend="neither"
    )
    axes.contour(first, second, shown, levels=levels[1:-1], colors="white", linewidths=0.5)
    return filled


def draw_bar(figure: Figure, drawn: Any, axes: Any, scale: Scale) -> None:
    """Draw the bar of colours beside ``axes``."""
    if drawn is None:
        return
    levels = scale.levels()
    ticks = levels[np.linspace(0, len(levels) - 1, _TICKS).round().astype(int)]
    bar = figure.colorbar(drawn, ax=axes, ticks=ticks, shrink=0.9, pad=0.02)
    bar.minorticks_off()
    bar.ax.set_yticklabels([figures(tick, 2) for tick in ticks])
    bar.set_label("loss, log scale" if scale.log else "loss")
    bar.outline.set_visible(False)
