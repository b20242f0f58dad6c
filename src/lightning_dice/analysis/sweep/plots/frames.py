"""What the plots of a sweep share: small multiples, the look of each control, axes of a metric."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeVar

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from lightning_dice.analysis.phrases import counted, short
from lightning_dice.analysis.plots.curves import WIDE
from lightning_dice.analysis.readers import Floats
from lightning_dice.analysis.style import BLUE, GREEN, GREY, ORANGE, SKY, VERMILLION, thin
from lightning_dice.analysis.sweep.arms import DICE
from lightning_dice.analysis.sweep.measure import Measure
from lightning_dice.analysis.sweep.results import Family, Results

Shown = TypeVar("Shown")

COLUMNS, ROWS = 2, 3
"""Panels of one figure, side by side and above each other."""
FIGURES = 4
"""Most figures of one kind; the tables have the rest."""


class Drawing(NamedTuple):
    """A plot of the report.

    Attributes:
        name: The file's name without its suffix.
        heading: Of its section; empty where it goes on with the section before it.
        message: What it says, for its title and for who cannot see it.
        reading: How to read it; may be empty.
        figure: Draws it.
    """

    name: str
    heading: str
    message: str
    reading: str
    figure: Callable[[], Figure]


class Line(NamedTuple):
    """How the arms of one control look: colour, marker and dashes each tell it from the others."""

    colour: str
    marker: str
    dashes: Any


LINES = {
    DICE: Line(BLUE, "o", "-"),
    "plain": Line(GREY, "P", "-"),
    "plain_mean": Line(ORANGE, "s", "--"),
    "plain_rms": Line(SKY, "D", ":"),
    "gaussian": Line(VERMILLION, "^", "-."),
    "deck": Line(GREEN, "v", (0, (6, 1.5, 1.5, 1.5, 1.5, 1.5))),
}
"""The look of each control."""


class Panel(NamedTuple):
    """One of the small multiples: families of dice in one context with one target.

    Attributes:
        context: The context's position.
        target: What is scaled.
        families: What of it is shown.
    """

    context: int
    target: str
    families: tuple[Family, ...]


Page = Sequence[Sequence[Panel | None]]
"""The panels of one figure, row by row."""


def panels(families: Sequence[Family]) -> list[Panel]:
    """A panel for each context and target."""
    together: dict[tuple[int, str], list[Family]] = {}
    for family in families:
        together.setdefault((family.context, family.arm.target), []).append(family)
    return [Panel(*key, tuple(members)) for key, members in together.items()]


def pages(given: Sequence[Panel]) -> list[Page]:
    """Panels in rows and columns, as many figures as it takes.

    Two targets stand side by side, a row for each context; otherwise panels follow each other.
    """
    targets = list(dict.fromkeys(panel.target for panel in given))
    if len(targets) == COLUMNS:
        found = {(panel.context, panel.target): panel for panel in given}
        contexts = dict.fromkeys(panel.context for panel in given)
        rows: list[list[Panel | None]] = [
            [found.get((context, target)) for target in targets] for context in contexts
        ]
    else:
        width = min(len(given), COLUMNS)
        rows = [
            [*given[i : i + width], *[None] * (width - len(given[i : i + width]))]
            for i in range(0, len(given), width)
        ]
    return [rows[i : i + ROWS] for i in range(0, len(rows), ROWS)]


def those_on(page: Page) -> list[Panel]:
    """The panels of a page."""
    return [panel for row in page for panel in row if panel is not None]


def cells(page: Page, axes: Any) -> Iterator[tuple[Axes, Panel]]:
    """The axes and the panel of each cell; axes without a panel are taken away."""
    for row, across in zip(page, axes, strict=False):
        for panel, place in zip(row, across, strict=True):
            if panel is None:
                place.set_axis_off()
            else:
                yield place, panel


def name_panel(axes: Axes, results: Results, panel: Panel) -> None:
    """Say in small type above a panel what it is about."""
    target = f"target {panel.target}" if "target" in results.labels.fields else ""
    name = results.labels.together(panel.context, target)
    axes.set_title(short(name, 42), loc="left", fontsize=9.5, pad=4, parse_math=False)


def measure_axis(axes: Axes, measure: Measure, label: bool = True, axis: str = "y") -> None:
    """Make an axis one of the metric's, after everything is drawn.

    It is logarithmic where an arm that blew up would flatten everything else. Nor may the bands of
    a few seeds, which are wide: it follows the lines.
    """
    ruler = axes.yaxis if axis == "y" else axes.xaxis
    low, high = _reach(axes, axis)
    if measure.share:
        ruler.set_major_formatter(PercentFormatter(1, decimals=None, symbol=" %"))
    elif low > 0 and high / low > WIDE:
        axes.set(**{f"{axis}scale": "log"})
    if axis == "y" and high > low:
        shown, room = axes.get_ylim(), (high - low) / 3
        axes.set_ylim(max(shown[0], low - room), min(shown[1], high + room))
    if label:
        unit = f" ({short(measure.unit)})" if measure.unit and not measure.share else ""
        ruler.set_label_text(f"{short(measure.spoken)}{unit}", parse_math=False)


def _reach(axes: Axes, axis: str) -> tuple[float, float]:
    """From where to where the lines go."""
    data = [line.get_ydata() if axis == "y" else line.get_xdata() for line in axes.lines]
    values = np.concatenate([[], *(np.asarray(one, float) for one in data)])
    values = values[np.isfinite(values)]
    return float(values.min(initial=np.inf)), float(values.max(initial=-np.inf))


def draw_line(
    axes: Axes,
    x: Floats,
    mean: Floats,
    low: Floats,
    high: Floats,
    line: Line,
    label: str,
    **more: Any,
) -> None:
    """A line of means, and the band of their intervals where they have one."""
    sure = np.isfinite(low)
    axes.fill_between(x, low, high, where=sure, color=line.colour, alpha=0.16, linewidth=0)
    shown = thin(len(x), 300)
    style = {"color": line.colour, "marker": line.marker, "linestyle": line.dashes, **more}
    axes.plot(x[shown], mean[shown], markersize=4, label=label, **style)


def share_legend(figure: Figure, columns: int = 3) -> None:
    """One legend under all panels, each label once."""
    found = {
        label: handle
        for axes in figure.axes
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    legend = figure.legend(
        found.values(), found.keys(), loc="outside lower center", ncols=columns, columnspacing=1.4
    )
    for text in legend.get_texts():
        text.set_parse_math(False)


def drawings(
    stem: str,
    heading: str,
    reading: str,
    found: Sequence[Shown],
    message: Callable[[Shown], str],
    draw: Callable[[Shown, str], Figure],
) -> list[Drawing]:
    """The figures of one kind, as many as there is room for, under one heading.

    Args:
        stem: Their file's name; numbered where there are several.
        heading: Of their section.
        reading: How to read them, said under the last.
        found: What each would show.
        message: What one says.
        draw: Draws one with its message.
    """
    shown, left = found[:FIGURES], len(found) - FIGURES
    more = f" {counted(left, 'more figure')} would fit here." if left > 0 else ""
    return [
        Drawing(
            name=f"{stem}-{number}" if len(found) > 1 else stem,
            heading=heading if number == 1 else "",
            message=message(one),
            reading=reading + more if number == len(shown) else "",
            figure=partial(draw, one, message(one)),
        )
        for number, one in enumerate(shown, start=1)
    ]


def head(figure: Figure, message: str) -> None:
    """The message above all panels."""
    text = "\n".join(textwrap.wrap(message, 62, max_lines=3, break_on_hyphens=False))
    figure.suptitle(text, x=0.01, ha="left", fontsize=11.5, fontweight="bold", parse_math=False)
