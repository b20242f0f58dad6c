"""The plane of the paths, with the paths on it."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lightning_dice.analysis.landscape.data import Path, Plane
from lightning_dice.analysis.landscape.looks import STROKES, Stroke
from lightning_dice.analysis.landscape.plots.maps import GROUND, draw_bar, draw_map
from lightning_dice.analysis.landscape.scale import Scale
from lightning_dice.analysis.phrases import percent, short
from lightning_dice.analysis.style import GREY, INK, LOOKS, blank, entitle
from lightning_dice.rules import Outcome


def paths(plane: Plane, title: str) -> Figure:
    """Draw the plane, and each path with its points as the last roll before them came out."""
    figure, axes = blank(5.2)
    scale = Scale.of(plane.losses)
    drawn = draw_map(axes, plane.first, plane.second, plane.losses, scale, GROUND)
    draw_bar(figure, drawn, axes, scale)
    for path, stroke in zip(plane.paths, STROKES, strict=False):
        _draw_path(axes, path, stroke)
    names = ("first", "second")
    labels = [
        f"{name} component ({percent(share)})"
        for name, share in zip(names, plane.explained, strict=True)
    ]
    axes.set_xlabel(labels[0])
    axes.set_ylabel(labels[1])
    entitle(axes, title)
    handles = _handles(plane)
    columns = min(len(handles), 3)
    figure.legend(handles=handles, loc="outside lower left", ncols=columns, handletextpad=0.5)
    return figure


def _draw_path(axes: Axes, path: Path, stroke: Stroke) -> None:
    axes.plot(*path.at.T, color=stroke.colour, linestyle=stroke.dashes, linewidth=1.1, zorder=3)
    if path.moves:
        for i, move in enumerate(path.moves):
            if move.outcome is not None:
                look = LOOKS[move.outcome]
                size = 9 if look.marker == "*" else 6
                _mark(axes, path, i, look.marker, look.colour, size)
    else:
        axes.plot(*path.at.T, ".", color=stroke.colour, markersize=5, zorder=4)
    _mark(axes, path, 0, "s", "white", 7, stroke.colour)
    _mark(axes, path, -1, "D", stroke.colour, 7, "white")


def _mark(
    axes: Axes, path: Path, i: int, marker: str, colour: str, size: float, edge: str = INK
) -> None:
    axes.plot(
        *path.at[i],
        marker=marker,
        color=colour,
        markersize=size,
        markeredgecolor=edge,
        markeredgewidth=0.6 if edge == INK else 1.4,
        linestyle="",
        zorder=5,
    )


def _handles(plane: Plane) -> list[Line2D]:
    handles = [
        Line2D([], [], color=stroke.colour, linestyle=stroke.dashes, label=short(path.label, 34))
        for path, stroke in zip(plane.paths, STROKES, strict=False)
    ]
    seen = {move.outcome for path in plane.paths for move in path.moves}
    for outcome in Outcome:
        if outcome in seen:
            look = LOOKS[outcome]
            handles.append(_handle(look.marker, look.colour, INK, outcome.value.replace("_", " ")))
    handles.append(_handle("s", "white", GREY, "start"))
    handles.append(_handle("D", GREY, "white", "end"))
    return handles


def _handle(marker: str, colour: str, edge: str, label: str) -> Line2D:
    return Line2D(
        [],
        [],
        marker=marker,
        linestyle="",
        color=colour,
        markeredgecolor=edge,
        markeredgewidth=0.8,
        markersize=9 if marker == "*" else 7,
        label=label,
    )
