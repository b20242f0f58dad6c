"""Surfaces that can be turned, and lines that can be pointed at."""

from __future__ import annotations

from typing import Any

import numpy as np
from plotly import graph_objects as go  # type: ignore[import-untyped]

from lightning_dice.analysis.landscape.data import Landscape, Path, Plane
from lightning_dice.analysis.landscape.looks import STROKES, Stroke
from lightning_dice.analysis.landscape.scale import Scale
from lightning_dice.analysis.phrases import counted, figures
from lightning_dice.analysis.readers import Floats
from lightning_dice.analysis.style import INK, LOOKS
from lightning_dice.rules import Outcome

_SYMBOLS = {"X": "x", "v": "diamond", "o": "circle", "*": "cross"}
"""Markers of print as those that there are in space."""
_LIFT = 0.012
"""Of the height: what paths lie above their surface, which would hide half of each point."""
_GROUND = [[0, "#FBFAF7"], [0.5, "#C9C6BE"], [1, "#77756F"]]
_FONT = {"family": "Charter, Georgia, serif", "size": 14, "color": INK}


def paths_surface(plane: Plane) -> Any:
    """The plane of the paths as a surface, with the paths on it."""
    scale = Scale.of(plane.losses, *(path.on_plane for path in plane.paths))
    figure = go.Figure(_surface(plane.first, plane.second, plane.losses, scale, _GROUND))
    for path, stroke in zip(plane.paths, STROKES, strict=False):
        figure.add_trace(_path(path, stroke, scale))
    seen = {move.outcome for path in plane.paths for move in path.moves}
    for outcome in Outcome:
        if outcome in seen:
            figure.add_trace(_legend_of(outcome))
    return _laid_out(figure, _scene("first component", "second component", scale), height=620)


def slice_surfaces(landscape: Landscape) -> Any:
    """The surface around each run, one at a time."""
    scale = Scale.of(*(one.losses for one in landscape.slices))
    figure = go.Figure()
    for i, one in enumerate(landscape.slices):
        trace = _surface(one.axis, one.axis, one.losses, scale, "Cividis")
        figure.add_trace(trace.update(name=one.label, visible=i == 0))
    scene = _scene("first direction", "second direction", scale)
    figure = _laid_out(figure, scene, height=560)
    if len(landscape.slices) > 1:
        figure.update_layout(updatemenus=[_choice([one.label for one in landscape.slices])])
    return figure


def slice_lines(landscape: Landscape) -> Any:
    """Each run's loss along the first direction."""
    figure = go.Figure()
    for one, stroke in zip(landscape.slices, STROKES, strict=False):
        figure.add_trace(_line(one.label, one.axis, one.line, stroke))
    scale = Scale.of(*(one.line for one in landscape.slices))
    return _flat(figure, "random direction (in lengths of the filters)", scale)


def between_lines(landscape: Landscape) -> Any:
    """The loss between the first run and each other one."""
    figure = go.Figure()
    for line, stroke in zip(landscape.lines, STROKES[1:], strict=False):
        figure.add_trace(_line(f"to {line.end}", line.at, line.losses, stroke))
    scale = Scale.of(*(line.losses for line in landscape.lines))
    start = landscape.lines[0].start
    return _flat(figure, f"from {start} (0) to the other run (1)", scale)


def hover(path: Path, index: int) -> str:
    """What is said of one point of a path."""
    said = [
        f"{path.label}, step {path.steps[index]}",
        f"loss {figures(float(path.losses[index]))}, "
        f"{figures(float(path.on_plane[index]))} on the plane",
    ]
    move = path.moves[index] if path.moves else None
    if move is not None and move.last:
        outcome = str(move.outcome).replace("_", " ")
        scale = "discard" if move.scale is None else f"scale {figures(move.scale)}"
        if len(move.last) == 1:
            said.append(f"rolled {move.last[0].natural}: {outcome}, {scale}")
        else:
            said.append(f"{counted(len(move.last), 'roll')} in one step: {outcome}, mean {scale}")
        if move.rolls > len(move.last) and move.mean_scale is not None:
            rolls = counted(move.rolls, "roll")
            said.append(f"{rolls} since the point before, mean scale {figures(move.mean_scale)}")
    said.append(f"{figures(float(path.distance[index]))} from the plane")
    return "<br>".join(said)


def _path(path: Path, stroke: Stroke, scale: Scale) -> Any:
    outcomes = [move.outcome for move in path.moves] or [None] * len(path.steps)
    looks = [None if outcome is None else LOOKS[outcome] for outcome in outcomes]
    return go.Scatter3d(
        x=path.at[:, 0],
        y=path.at[:, 1],
        z=_lifted(path.on_plane, scale),
        name=path.label,
        mode="lines+markers",
        line={"color": stroke.colour, "width": 2.5},
        marker={
            "size": [9 if i in (0, len(looks) - 1) else 6.5 for i in range(len(looks))],
            "color": [stroke.colour if look is None else look.colour for look in looks],
            "symbol": ["circle" if look is None else _SYMBOLS[look.marker] for look in looks],
            "line": {"color": INK, "width": 0.5},
        },
        text=[hover(path, i) for i in range(len(path.steps))],
        hovertemplate="%{text}<extra></extra>",
    )


def _legend_of(outcome: Outcome) -> Any:
    look = LOOKS[outcome]
    return go.Scatter3d(
        x=[None],
        y=[None],
        z=[None],
        name=outcome.value.replace("_", " "),
        mode="markers",
        marker={
            "size": 6,
            "color": look.colour,
            "symbol": _SYMBOLS[look.marker],
            "line": {"color": INK, "width": 1},
        },
    )


def _lifted(losses: Floats, scale: Scale) -> Floats:
    heights: Floats = np.where(np.isfinite(losses), losses, np.nan)
    if scale.log:
        heights *= (scale.high / scale.low) ** _LIFT
    else:
        heights += _LIFT * (scale.high - scale.low)
    return heights


def _surface(first: Floats, second: Floats, losses: Floats, scale: Scale, colours: Any) -> Any:
    shown = np.where(np.isfinite(losses), losses, np.nan)
    low, high = (scale.low, scale.high) if not scale.log else np.log10([scale.low, scale.high])
    return go.Surface(
        x=first,
        y=second,
        z=shown,
        surfacecolor=np.log10(shown) if scale.log else shown,
        cmin=float(low),
        cmax=float(high),
        colorscale=colours,
        showscale=False,
        lighting={"ambient": 0.75, "diffuse": 0.5, "specular": 0.05, "roughness": 0.9},
        hovertemplate="(%{x:.3g}, %{y:.3g})<br>loss %{z:.3g}<extra></extra>",
    )


def _line(name: str, at: Floats, losses: Floats, stroke: Stroke) -> Any:
    return go.Scatter(
        x=at,
        y=np.where(np.isfinite(losses), losses, np.nan),
        name=name,
        mode="lines",
        line={"color": stroke.colour, "dash": stroke.plotly, "width": 2.5},
        hovertemplate="at %{x:.3g}: loss %{y:.4g}<extra>%{fullData.name}</extra>",
    )


def _scene(first: str, second: str, scale: Scale) -> dict[str, Any]:
    wall = {"backgroundcolor": "#FFFFFF", "gridcolor": "#D9D5CB", "zerolinecolor": "#D9D5CB"}
    loss = "loss, log scale" if scale.log else "loss"
    return {
        "xaxis": {"title": {"text": first}, **wall},
        "yaxis": {"title": {"text": second}, **wall},
        "zaxis": {"title": {"text": loss}, "type": scale.name, **_ticks(scale), **wall},
        "aspectratio": {"x": 1.25, "y": 1.25, "z": 0.8},
        "camera": {"eye": {"x": 1.3, "y": -1.75, "z": 1.2}, "center": {"z": -0.14}},
    }


def _ticks(scale: Scale) -> dict[str, Any]:
    """Ticks of a height: plotly's own lie on top of each other on a short logarithmic axis."""
    if not scale.log:
        return {}
    low, high = np.log10([scale.low, scale.high])
    powers = range(int(np.floor(low)), int(np.ceil(high)) + 1)
    factors = (1, 3) if high - low < 3 else (1,)
    values = [factor * 10.0**power for power in powers for factor in factors]
    shown = [value for value in values if scale.low <= value <= scale.high]
    return {"tickmode": "array", "tickvals": shown, "ticktext": [f"{value:g}" for value in shown]}


def _laid_out(figure: Any, scene: dict[str, Any], height: int) -> Any:
    return figure.update_layout(
        scene=scene,
        height=height,
        margin={"l": 0, "r": 0, "t": 10, "b": 0},
        font=_FONT,
        paper_bgcolor="#FFFFFF",
        legend={"x": 0, "y": 1, "bgcolor": "rgba(255,255,255,0.7)"},
    )


def _flat(figure: Any, across: str, scale: Scale) -> Any:
    axis = {"gridcolor": "#E8E5DD", "zeroline": False, "linecolor": "#767676"}
    return figure.update_layout(
        xaxis={"title": {"text": across}, **axis},
        yaxis={"title": {"text": "loss"}, "type": scale.name, **axis},
        height=380,
        margin={"l": 60, "r": 10, "t": 10, "b": 50},
        font=_FONT,
        paper_bgcolor="#FFFFFF",
        plot_bgcolor="#FFFFFF",
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom"},
        showlegend=True,
    )


def _choice(labels: list[str]) -> dict[str, Any]:
    buttons = [
        {
            "label": label,
            "method": "restyle",
            "args": [{"visible": [other == i for other in range(len(labels))]}],
        }
        for i, label in enumerate(labels)
    ]
    return {
        "buttons": buttons,
        "direction": "down" if len(labels) > 3 else "right",
        "type": "dropdown" if len(labels) > 3 else "buttons",
        "x": 0,
        "xanchor": "left",
        "y": 1,
        "yanchor": "top",
        "bgcolor": "#FFFFFF",
    }
