"""What each slot got, where a run rolled for several: over the steps, and on the whole."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lightning_dice.analysis.messages import slots_message
from lightning_dice.analysis.phrases import counted, figures
from lightning_dice.analysis.plots.strip import step_edges
from lightning_dice.analysis.readers import Floats, Place, Rolls
from lightning_dice.analysis.run import Expected, Run
from lightning_dice.analysis.style import GREEN, INK, entitle, house_figure, say

NAMED = 40
"""Most slots that have a row high enough for a name."""
COLUMNS = 100
"""Most columns of the picture over the steps."""
NAME = 28
"""Characters of a name that fit beside the picture."""


def slots(run: Run) -> Figure:
    """A row for each slot: its scales over the steps, and its mean beside the expected one."""
    count = len(run.rolls.places)
    rows = 0.2 * max(count, 1) if count <= NAMED else 4.4
    figure = house_figure(rows + 1.7)
    (left, right), (bar, key) = figure.subplots(
        2, 2, width_ratios=[2.2, 1], height_ratios=[rows, 0.13]
    )
    entitle(left, slots_message(run))
    left.set_xlabel("optimizer step")
    key.set_axis_off()
    if not count:
        say(left, "no rolls are on record")
        right.set_axis_off()
        bar.set_axis_off()
        return figure
    edges, means = means_over_steps(run.rolls)
    low, high = min(np.nanmin(means), 0.0), np.nanmax(means)
    mesh = left.pcolormesh(
        edges,
        np.arange(count + 1) - 0.5,
        means,
        cmap="cividis",
        vmin=low,
        vmax=high if high > low else low + 1,
        rasterized=True,
    )
    _name_rows(left, run)
    figure.colorbar(mesh, cax=bar, orientation="horizontal", label="mean scale of the steps")
    _draw_means(right, run.rolls, run.expected)
    for axes in (left, right):
        axes.set_ylim(count - 0.5, -0.5)
    legend = key.legend(*right.get_legend_handles_labels(), loc="upper left", fontsize=9)
    legend.set_in_layout(False)  # it fits beside the bar's labels
    return figure


def means_over_steps(rolls: Rolls) -> tuple[Floats, Floats]:
    """The mean scale of each place in bins of whole steps.

    Returns:
        The bins' edges, shape ``(bins + 1,)``, and the means, shape ``(places, bins)``, a discard
        counting as 0: NaN where a place has no rolls in a bin.
    """
    rows = len(rolls.places)
    most = int(np.bincount(rolls.place).max())
    edges = step_edges(rolls, min(most, COLUMNS))
    bins = len(edges) - 1
    cell = rolls.place * bins + np.searchsorted(edges, rolls.step, side="right") - 1
    count = np.bincount(cell, minlength=rows * bins)
    total = np.bincount(cell, rolls.factors, minlength=rows * bins)
    means: Floats = total / np.where(count, count, np.nan)
    return edges, means.reshape(rows, bins)


def row_names(run: Run) -> tuple[str, list[str]]:
    """What all names begin with, and the rest of the name of each slot."""
    names = [_name(run, place) for place in run.rolls.places]
    shared = ""
    while len({name.partition(".")[0] for name in names}) == 1 and all("." in n for n in names):
        shared += names[0].partition(".")[0] + "."
        names = [name.partition(".")[2] for name in names]
    return shared.rstrip("."), [_tail(name) for name in names]


def _name_rows(axes: Axes, run: Run) -> None:
    axes.tick_params(axis="y", length=0)
    if len(run.rolls.places) > NAMED:
        axes.set_ylabel("slots, in order")
        return
    shared, names = row_names(run)
    axes.set_yticks(range(len(names)), names, fontsize=8, parse_math=False)
    if shared:
        axes.set_ylabel(shared, fontsize=8, parse_math=False)


def _draw_means(axes: Axes, rolls: Rolls, expected: Expected | None) -> None:
    counts, means = rolls.place_means()
    if expected is not None:
        axes.stairs(
            expected.mean_range(counts)[1],
            np.arange(len(means) + 1) - 0.5,
            baseline=expected.mean_range(counts)[0],
            orientation="horizontal",
            fill=True,
            color=GREEN,
            alpha=0.18,
            linewidth=0,
            label="95 % of runs",
        )
        label = f"expected, {figures(expected.mean)}"
        axes.axvline(expected.mean, color=GREEN, linestyle="--", linewidth=1.3, label=label)
    size = 4.5 if len(means) <= NAMED else 1.5
    axes.plot(means, range(len(means)), "o", color=INK, markersize=size, label="the whole run")
    axes.tick_params(axis="y", length=0, labelleft=False)
    axes.set_xlabel("mean scale")


def _name(run: Run, place: Place) -> str:
    optimizer, slot = place
    names = run.slots.get(place, [])
    if run.by_rank:
        return f"rank {slot}"
    if run.scope == "model":
        return f"optimizer {optimizer}"
    if run.scope == "param_group" and names:
        name = f"group {slot} ({counted(len(names), 'parameter')})"
    else:
        name = names[0] if len(names) == 1 and names[0] else f"slot {slot}"
    several = len({optimizer for optimizer, _slot in run.rolls.places}) > 1
    return f"optimizer {optimizer}: {name}" if several else name


def _tail(name: str) -> str:
    return name if len(name) <= NAME else f"\N{HORIZONTAL ELLIPSIS}{name[1 - NAME :]}"
