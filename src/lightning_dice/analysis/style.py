"""One look for every plot: it reads in colour, in grey, and without colour vision."""

from __future__ import annotations

import io
import textwrap
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lightning_dice.analysis.readers import Floats, Ints
from lightning_dice.rules import Outcome

BLUE, SKY, GREEN, ORANGE, VERMILLION = "#0072B2", "#56B4E9", "#009E73", "#E69F00", "#D55E00"
PURPLE = "#CC79A7"
"""Colours of Okabe and Ito, which people with any colour vision tell apart."""
INK, GREY, FAINT = "#222222", "#767676", "#BDBDBD"

WIDTH = 6.4
"""Inches; the report shows a figure about 7.5 inches wide, so that type is never smaller."""
DPI = 180
TITLE = 48
"""Characters that fit in one line of a title."""
POINTS = 2000
"""Most points of a line that are drawn: more than the figure has columns of pixels."""


class Look(NamedTuple):
    """How one outcome looks, everywhere: any one of the three tells it from the others."""

    colour: str
    marker: str
    hatch: str


LOOKS = {
    Outcome.CRITICAL_FAILURE: Look(VERMILLION, "X", "xxxx"),
    Outcome.FAILURE: Look(ORANGE, "v", r"\\\\"),
    Outcome.SUCCESS: Look(SKY, "o", ""),
    Outcome.CRITICAL_SUCCESS: Look(BLUE, "*", "...."),
}
"""The look of each outcome."""

_STYLE = {
    "font.size": 10,
    "axes.titlesize": 11.5,
    "axes.titleweight": "bold",
    "axes.titlepad": 10,
    "axes.labelsize": 10,
    "axes.labelcolor": INK,
    "axes.edgecolor": GREY,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.formatter.useoffset": False,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "legend.fontsize": 9.5,
    "lines.linewidth": 1.6,
    "hatch.linewidth": 0.7,
    "text.color": INK,
}
# Settings of the drawing library belong to the process: one plot at a time changes them.
_LOCK = threading.RLock()


@contextmanager
def house_style() -> Iterator[None]:
    """The library's own defaults with this look on top, whatever the user's settings are."""
    with _LOCK, matplotlib.style.context(["default", _STYLE]):
        yield


def blank(height: float, **axes: Any) -> tuple[Figure, Any]:
    """A figure of the common width with axes, tied to no window and no global state.

    Args:
        height: Inches.
        **axes: What ``Figure.subplots`` takes.
    """
    figure = house_figure(height)
    return figure, figure.subplots(**axes)


def house_figure(height: float) -> Figure:
    """A figure of the common width, without axes."""
    return Figure(figsize=(WIDTH, height), layout="constrained")


def draw(plot: Callable[[], Figure]) -> bytes:
    """The PNG of a plot.

    Args:
        plot: Makes the figure; called with the style on.
    """
    with house_style(), warnings.catch_warnings():
        # A name in a script that the font lacks is drawn as boxes; that is no reason to fail.
        warnings.filterwarnings("ignore", message=r"Glyph \d+")
        file = io.BytesIO()
        plot().savefig(file, format="png", dpi=DPI, facecolor="white")
    return file.getvalue()


def entitle(axes: Axes, title: str) -> None:
    """Put a message over the axes, broken into lines that fit.

    Names come from users, so nothing in them is read as mathematics.
    """
    lines = textwrap.wrap(
        title, TITLE, max_lines=3, placeholder=" \N{HORIZONTAL ELLIPSIS}", break_on_hyphens=False
    )
    axes.set_title("\n".join(lines), loc="left", parse_math=False)


def say(axes: Axes, text: str) -> None:
    """Say in the middle of empty axes why they are empty."""
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color=GREY)
    axes.set_yticks([])


def thin(length: int, most: int = POINTS) -> Ints:
    """Positions of at most ``most`` points, evenly spaced, the first and the last among them.

    Example:
        >>> thin(5, 3)
        array([0, 2, 4])
    """
    return np.unique(np.linspace(0, length - 1, min(length, most)).round().astype(np.int64))


def running_mean(values: Floats) -> Floats:
    """The mean of the values so far, at each of them.

    Example:
        >>> running_mean(np.array([1.0, 0.0, 0.5]))
        array([1. , 0.5, 0.5])
    """
    means: Floats = np.cumsum(values) / np.arange(1, len(values) + 1)
    return means
