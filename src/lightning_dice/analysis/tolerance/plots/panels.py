"""What the plots share: the look of each optimizer, and what stands in which panel."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from matplotlib.axes import Axes

from lightning_dice.analysis.phrases import short
from lightning_dice.analysis.style import BLUE, GREEN, GREY, INK, ORANGE, PURPLE, SKY, VERMILLION
from lightning_dice.analysis.sweep.plots.frames import Line
from lightning_dice.analysis.tolerance.study import Tolerance

LOOKS = (
    Line(BLUE, "o", "-"),
    Line(VERMILLION, "^", (0, (6, 1.5))),
    Line(GREEN, "s", (0, (1.5, 1))),
    Line(ORANGE, "D", (0, (6, 1.5, 1.5, 1.5))),
    Line(PURPLE, "v", (0, (3, 1))),
    Line(SKY, "X", (0, (6, 1.5, 1.5, 1.5, 1.5, 1.5))),
    Line(INK, "P", (0, (10, 2))),
    Line(GREY, "*", (0, (1, 2.5))),
)
"""Colour, marker and dashes each tell an optimizer from the others."""
ROWS, COLUMNS = 3, 2

Row = Sequence[int | None]
"""Families side by side."""


class Sheet(NamedTuple):
    """One figure.

    Attributes:
        subjects: Those shown, all clipped alike.
        rows: The families, panel by panel.
    """

    subjects: tuple[int, ...]
    rows: tuple[Row, ...]


def looks(study: Tolerance) -> dict[int, Line]:
    """The look of each subject: the same with and without clipping."""
    lines = list(dict.fromkeys(subject.line for subject in study.subjects))
    return {
        place: LOOKS[lines.index(subject.line) % len(LOOKS)]
        for place, subject in enumerate(study.subjects)
    }


def sheets(study: Tolerance) -> list[Sheet]:
    """The figures that it takes: one for each clipping, no look in it twice."""
    lines = list(dict.fromkeys(subject.line for subject in study.subjects))
    groups: dict[tuple[str, int], list[int]] = {}
    for place, subject in enumerate(study.subjects):
        group = lines.index(subject.line) // len(LOOKS)
        groups.setdefault((subject.clipping, group), []).append(place)
    return [Sheet(tuple(subjects), rows) for subjects in groups.values() for rows in pages(study)]


def pages(study: Tolerance) -> list[tuple[Row, ...]]:
    """The families in rows; two targets stand side by side."""
    families = range(len(study.families))
    targets = list(dict.fromkeys(family.arm.target for family in study.families))
    if len(targets) == COLUMNS:
        throws: dict[Any, list[int | None]] = {}
        for place, family in enumerate(study.families):
            row = throws.setdefault(family.arm._replace(target=""), [None] * COLUMNS)
            row[targets.index(family.arm.target)] = place
        rows: list[Row] = list(throws.values())
    else:
        width = min(len(families), COLUMNS)
        rows = [
            [place if place < len(families) else None for place in range(start, start + width)]
            for start in range(0, len(families), width)
        ]
    return [tuple(rows[start : start + ROWS]) for start in range(0, len(rows), ROWS)]


def panels(study: Tolerance, rows: Sequence[Row], axes: Any) -> Iterator[tuple[Axes, int]]:
    """The axes and the family of each panel, named; axes without one are taken away."""
    for row, across in zip(rows, axes, strict=True):
        for family, place in zip(row, across, strict=True):
            if family is None:
                place.set_axis_off()
                continue
            title = short(study.family_name(family), 42)
            place.set_title(title, loc="left", fontsize=9, pad=4, parse_math=False)
            yield place, family
