"""The rolls as a strip under a curve: one mark a roll, or shares where marks would run together."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from lightning_dice.analysis.messages import has_marks
from lightning_dice.analysis.readers import OUTCOMES, Floats, Ints, Rolls
from lightning_dice.analysis.style import LOOKS, say

BIN = 50
"""Rolls a bin of shares holds at least, on average."""
BINS = 60


def draw_strip(axes: Axes, rolls: Rolls) -> None:
    """Draw ``rolls`` over their steps.

    Up to ``MARKS`` rolls with a step each are marks in a lane for each outcome; more are the share
    of each outcome in bins of steps.
    """
    if not len(rolls):
        say(axes, "no rolls are on record")
    elif has_marks(rolls):
        _draw_marks(axes, rolls)
    else:
        _draw_shares(axes, rolls)


def _draw_marks(axes: Axes, rolls: Rolls) -> None:
    width = float(np.clip(360 / len(rolls), 0.8, 3))
    axes.eventplot(
        [rolls.step[rolls.outcome == lane] for lane in range(len(OUTCOMES))],
        lineoffsets=range(len(OUTCOMES)),
        linelengths=0.8,
        linewidths=width,
        colors=[LOOKS[outcome].colour for outcome in OUTCOMES],
    )
    axes.set_yticks(range(len(OUTCOMES)), [o.replace("_", " ") for o in OUTCOMES], fontsize=9)
    axes.tick_params(axis="y", length=0)
    axes.set_ylabel("rolls")


def _draw_shares(axes: Axes, rolls: Rolls) -> None:
    edges, shares = outcome_shares(rolls)
    floor = np.zeros(len(edges) - 1)
    for outcome, share in zip(OUTCOMES, shares, strict=True):
        look = LOOKS[outcome]
        axes.stairs(
            floor + share,
            edges,
            baseline=floor,
            fill=True,
            facecolor=look.colour,
            edgecolor="white",
            linewidth=0,
            hatch=look.hatch,
            label=outcome.replace("_", " "),
        )
        floor = floor + share
    axes.set_ylim(0, 1)
    axes.set_yticks([0, 0.5, 1])
    axes.yaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
    axes.set_ylabel("share of rolls")
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(-0.01, 0.98),
        ncols=4,
        columnspacing=1.2,
        handlelength=1.6,
        borderaxespad=0.2,
    )


def outcome_shares(rolls: Rolls) -> tuple[Floats, Floats]:
    """The share of each outcome in bins of whole steps.

    Returns:
        The bins' edges, shape ``(bins + 1,)``, and the shares, shape ``(outcomes, bins)``: each
        column sums to 1, or is NaN where a bin has no rolls.
    """
    edges = step_edges(rolls, int(np.clip(len(rolls) // BIN, 1, BINS)))
    counts = np.array([_in_bins(rolls.step[rolls.outcome == i], edges) for i in range(4)])
    total = counts.sum(axis=0)
    return edges, counts / np.where(total, total, np.nan)


def step_edges(rolls: Rolls, bins: int) -> Floats:
    """The edges of at most ``bins`` bins of whole steps, near enough to equal."""
    start, stop = int(rolls.step.min()), int(rolls.step.max()) + 1
    return np.unique(np.linspace(start, stop, bins + 1).round())


def _in_bins(steps: Ints, edges: Floats) -> Floats:
    return np.histogram(steps, edges)[0].astype(np.float64)
