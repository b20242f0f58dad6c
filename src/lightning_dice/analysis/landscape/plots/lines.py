"""The loss on the straight line between two runs' weights."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from lightning_dice.analysis.landscape.data import Line
from lightning_dice.analysis.landscape.looks import STROKES
from lightning_dice.analysis.landscape.scale import Scale
from lightning_dice.analysis.phrases import short
from lightning_dice.analysis.style import blank, entitle


def lines(drawn: tuple[Line, ...], title: str) -> Figure:
    """Draw the lines from one run to others; below, the share right where it is known."""
    scored = [line for line in drawn if line.accuracy is not None]
    rows = 2 if scored else 1
    figure, grid = blank(2.2 + 1.5 * rows, nrows=rows, sharex=True, squeeze=False)
    losses = grid[0, 0]
    for line, stroke in zip(drawn, STROKES[1:], strict=False):
        finite = np.where(np.isfinite(line.losses), line.losses, np.nan)
        style = {"color": stroke.colour, "linestyle": stroke.dashes}
        losses.plot(line.at, finite, label=short(f"to {line.end}", 36), **style)
        losses.plot([0, 1], line.losses[[0, -1]], "o", color=stroke.colour, clip_on=False)
        if line.accuracy is not None:
            grid[1, 0].plot(line.at, line.accuracy, **style)
    scale = Scale.of(*(line.losses for line in drawn))
    losses.set_yscale(scale.name)
    losses.set_ylabel("loss, log scale" if scale.log else "loss")
    if scored:
        grid[1, 0].set_ylabel("share right")
    grid[-1, 0].set_xlabel(f"from {short(drawn[0].start)} (0) to the other run (1)")
    losses.legend()
    losses.margins(x=0.02)
    entitle(losses, title)
    return figure
