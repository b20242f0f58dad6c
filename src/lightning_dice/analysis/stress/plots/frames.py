"""What the plots share: which arms are shown and how they look, and panels in two columns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lightning_dice.analysis.phrases import counted, short
from lightning_dice.analysis.stress.gather import Stress
from lightning_dice.analysis.style import INK, PURPLE, house_figure
from lightning_dice.analysis.sweep.arms import CONTROLS, DICE
from lightning_dice.analysis.sweep.labels import short_name
from lightning_dice.analysis.sweep.measure import Measure
from lightning_dice.analysis.sweep.plots.frames import LINES, Line, draw_line

Item = TypeVar("Item")

COLUMNS = 2
ARMS = 6
"""Most arms of one figure; the tables have the rest."""
_MORE = (Line(PURPLE, "X", (0, (4, 1))), Line(INK, "d", (0, (1, 1))))


class Shown(NamedTuple):
    """An arm in a plot.

    Attributes:
        arm: Its position.
        name: For the legend.
        look: Its line.
    """

    arm: int
    name: str
    look: Line


def shown_arms(stress: Stress, arms: Sequence[int]) -> list[Shown]:
    """At most ``ARMS`` of the arms, dice and plain before the other controls, each with its look.

    Args:
        stress: Where the names are from.
        arms: Positions, ascending.
    """
    rank = {name: place for place, name in enumerate((DICE, *CONTROLS))}
    by_kind = sorted(arms, key=lambda arm: rank[stress.sweep.arms[arm].control])
    plain = [arm for arm in by_kind if stress.sweep.arms[arm].control == "plain"]
    others = [arm for arm in by_kind if arm not in plain]
    chosen = [*plain, *others][:ARMS]
    looks = dict(LINES)
    found: dict[int, Line] = {}
    for arm in sorted(chosen, key=by_kind.index):
        control = stress.sweep.arms[arm].control
        # The second arm of a control takes a look that nobody else needs.
        needed = {stress.sweep.arms[other].control for other in chosen}
        spare = [*(looks[name] for name in looks if name not in needed), *_MORE]
        free = [look for look in spare if look not in found.values()]
        own = LINES[control]
        found[arm] = own if own not in found.values() or not free else free[0]
    return [Shown(arm, short(arm_name(stress, arm), 38), look) for arm, look in found.items()]


def arm_name(stress: Stress, arm: int, control: bool = True) -> str:
    """An arm's name, short: ``T`` stands for the threshold.

    Args:
        stress: Where the names are from.
        arm: Its position.
        control: Whether to say that it rolls dice, or which control it is, where that is not all.
    """
    what, labels = stress.sweep.arms[arm], stress.labels
    threshold = f"T {what.threshold}" if labels.swept and what.threshold is not None else ""
    named = ", ".join(filter(None, [labels.family(what), threshold]))
    kind = short_name(what.control)
    return ", ".join(filter(None, [kind, named])) if control or not named else named


def legend_columns(arms: Sequence[Shown]) -> int:
    """How many of the names stand side by side under a figure."""
    longest = max((len(arm.name) for arm in arms), default=0)
    return 3 if longest <= 18 else 2 if longest <= 32 else 1


def hints(stress: Stress, figures: Iterable[Sequence[int]] = ()) -> str:
    """What a reader of figures has to know of their arms; may be empty.

    Args:
        stress: Where the arms are from.
        figures: The positions of the arms of each, as far as they are to be named.
    """
    told = " T is the threshold." if stress.labels.swept else ""
    more = max((len(set(arms)) - ARMS for arms in figures), default=0)
    are = "is" if more == 1 else "are"
    return f"{told} {counted(more, 'more arm')} {are} in the tables." if more > 0 else told


def panels(
    items: Sequence[Item], height: float, arms: Sequence[Shown] = ()
) -> tuple[Figure, Iterator[tuple[Axes, Item]]]:
    """A figure with axes for each item, two side by side; the last ones may be left empty.

    Args:
        items: What the panels are of.
        height: Of a row, in inches.
        arms: What the legend will name.
    """
    columns = min(COLUMNS, len(items))
    rows = -(-len(items) // columns)
    names = -(-len(arms) // legend_columns(arms))
    figure = house_figure(0.7 + height * rows + 0.2 * names)
    grid: Any = figure.subplots(rows, columns, squeeze=False).flat
    axes = list(grid)
    for empty in axes[len(items) :]:
        empty.set_axis_off()
    return figure, zip(axes, items, strict=False)


def name_axes(axes: Axes, name: str) -> None:
    """A panel's name in small type."""
    axes.set_title(short(name, 42), loc="left", fontsize=9.5, pad=4, parse_math=False)


def share_reach(figure: Figure, measure: Measure) -> None:
    """The same reach of the metric for all panels, so that they can be held beside each other."""
    ends = [axes.get_ylim() for axes in figure.axes if axes.axison]
    low, high = min(low for low, _ in ends), max(high for _, high in ends)
    room = (high - low) / 25  # for a mark at the edge
    low, high = low - room, high + room
    if measure.share:
        low, high = max(low, -0.02), min(high, 1.02)
    for axes in figure.axes:
        axes.set_ylim(low, high)


def draw_arms(axes: Axes, rows: pd.DataFrame, arms: Sequence[Shown], x: str = "strength") -> None:
    """A line with a band for each arm.

    Args:
        axes: Where.
        rows: With columns ``arm``, ``x``, ``mean``, ``ci_low``, ``ci_high``.
        arms: What is shown of it.
        x: The column along the axis.
    """
    for arm in arms:
        mine = rows[rows["arm"] == arm.arm].sort_values(x)
        along, mean, low, high = mine[[x, "mean", "ci_low", "ci_high"]].to_numpy(float).T
        if len(mine):
            draw_line(axes, along, mean, low, high, arm.look, arm.name)
