"""How runs look, apart from the looks of outcomes."""

from __future__ import annotations

from typing import Literal, NamedTuple

from lightning_dice.analysis.style import GREEN, GREY, INK, PURPLE


class Stroke(NamedTuple):
    """How the lines of one run look: colour and dashes tell it from the others.

    Attributes:
        colour: Of its lines.
        dashes: As matplotlib names them.
        plotly: As plotly does.
    """

    colour: str
    dashes: Literal["-", "--", "-.", ":"]
    plotly: str


STROKES = (
    Stroke(INK, "-", "solid"),
    Stroke(PURPLE, "--", "dash"),
    Stroke(GREEN, "-.", "dashdot"),
    Stroke(GREY, ":", "dot"),
    Stroke("#7B4B2A", "--", "longdash"),
    Stroke("#332288", "-.", "longdashdot"),
)
"""For runs in their order; the colours of outcomes are left to outcomes."""
