"""The scale of each roll, and how their mean settles on the expected one."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure

from lightning_dice.analysis.messages import scales_message
from lightning_dice.analysis.phrases import MINUS, figures, whole
from lightning_dice.analysis.readers import OUTCOMES, Rolls
from lightning_dice.analysis.run import Expected, Run
from lightning_dice.analysis.style import (
    GREEN,
    INK,
    LOOKS,
    SKY,
    blank,
    entitle,
    running_mean,
    say,
    thin,
)

DOTS = 1500
"""Most rolls that are drawn one by one."""
ENOUGH = 10
"""Rolls from which the mean's distribution is near enough to normal to draw its range."""


def scales(run: Run) -> Figure:
    """Each roll's scale, the mean so far, and E[s] with the range that the mean may wander in.

    Where a step has several rolls, their mean stands for them.
    """
    figure, axes = blank(3.9)
    entitle(axes, scales_message(run))
    axes.set_xlabel("optimizer step")
    axes.set_ylabel("scale (1 = full)")
    if not len(run.rolls):
        say(axes, "no rolls are on record")
        return figure
    (_draw_steps if run.rolls.several else _draw_rolls)(axes, run.rolls)
    _draw_mean(axes, run.rolls, run.expected)
    columns = 2 if run.rolls.several else 3
    legend = figure.legend(loc="outside lower center", ncols=columns, columnspacing=1.4)
    for handle in legend.legend_handles:
        if isinstance(handle, PathCollection):
            handle.set(alpha=1, sizes=[32])
    return figure


def _draw_rolls(axes: Axes, rolls: Rolls) -> None:
    shown = thin(len(rolls), DOTS)
    step, outcome, scale = rolls.step[shown], rolls.outcome[shown], rolls.scale[shown]
    finite = rolls.scale[np.isfinite(rolls.scale)]
    low, high = min(finite.min(initial=0), 0.0), max(finite.max(initial=1), 1.0)
    lane = low - 0.16 * (high - low)
    height = np.where(np.isnan(scale), lane, scale)
    for i, name in enumerate(OUTCOMES):
        here = outcome == i
        look = LOOKS[name]
        if here.any():
            axes.scatter(
                step[here],
                height[here],
                s=float(np.clip(9000 / len(shown), 9, 30)),
                c=look.colour,
                marker=look.marker,
                alpha=float(np.clip(300 / len(shown), 0.35, 0.9)),
                linewidths=0,
                label=name.replace("_", " "),
            )
    ticks = [t for t in axes.get_yticks() if low <= t <= high]
    axes.set_yticks([lane, *ticks], ["discard", *(f"{t:.3g}".replace("-", MINUS) for t in ticks)])
    axes.set_ylim(lane - 0.08 * (high - low), high + 0.06 * (high - low))
    axes.axhline(0, color=INK, linewidth=0.5)
    _note_thinning(axes, len(shown), len(rolls), "rolls")


def _draw_steps(axes: Axes, rolls: Rolls) -> None:
    steps, means = rolls.step_means()
    shown = thin(len(steps), DOTS)
    axes.scatter(
        steps[shown],
        means[shown],
        s=float(np.clip(4500 / len(shown), 6, 22)),
        color=SKY,
        alpha=float(np.clip(300 / len(shown), 0.35, 0.9)),
        linewidths=0,
        label="mean of one step's rolls",
    )
    axes.axhline(0, color=INK, linewidth=0.5)
    _note_thinning(axes, len(shown), len(steps), "steps")


def _note_thinning(axes: Axes, drawn: int, there: int, what: str) -> None:
    if drawn < there:
        note = f"{whole(drawn)} of {whole(there)} {what} drawn"
        axes.text(1, 1.01, note, transform=axes.transAxes, ha="right", va="bottom", fontsize=9)


def _draw_mean(axes: Axes, rolls: Rolls, expected: Expected | None) -> None:
    last = np.flatnonzero(np.diff(rolls.step, append=rolls.step[-1] + 1))
    shown = last[thin(len(last))]
    step = rolls.step[shown]
    if expected is not None:
        wide = shown + 1 >= ENOUGH
        reach = expected.mean_range(shown[wide] + 1)
        axes.fill_between(step[wide], *reach, color=GREEN, alpha=0.18, linewidth=0)
        axes.axhline(
            expected.mean,
            color=GREEN,
            linestyle="--",
            linewidth=1.3,
            label=f"expected, {figures(expected.mean)}; range of 95 % of runs",
        )
    mean = running_mean(rolls.factors)[shown]
    marker = "o" if len(step) == 1 else None
    axes.plot(step, mean, color=INK, marker=marker, markersize=4, label="mean of the rolls so far")
