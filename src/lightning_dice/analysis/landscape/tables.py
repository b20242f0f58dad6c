"""What is drawn, as tables."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from lightning_dice.analysis.landscape.data import Landscape, Path, Plane
from lightning_dice.analysis.landscape.moves import Move
from lightning_dice.analysis.readers import Floats


def tables(landscape: Landscape) -> Mapping[str, pd.DataFrame]:
    """A table for each picture, by the name of its file; a point of it a row."""
    found = {
        "slices": pd.concat(
            [_surface(one.axis, one.axis, one.losses, run=one.label) for one in landscape.slices]
        )
    }
    if landscape.plane is not None:
        found["plane"] = _plane(landscape.plane)
        found["paths"] = pd.concat([path_table(path) for path in landscape.plane.paths])
    if landscape.lines:
        found["lines"] = pd.concat(
            [
                pd.DataFrame(
                    {
                        "start": line.start,
                        "end": line.end,
                        "at": line.at,
                        "loss": line.losses,
                        "height": line.heights,
                        "accuracy": np.nan if line.accuracy is None else line.accuracy,
                    }
                )
                for line in landscape.lines
            ]
        )
    return found


def path_table(path: Path) -> pd.DataFrame:
    """A path's points with what was rolled on the way to each."""
    return pd.DataFrame(
        {
            "run": path.label,
            "step": path.steps,
            "first": path.at[:, 0],
            "second": path.at[:, 1],
            "distance": path.distance,
            "loss": path.losses,
            "loss_on_plane": path.on_plane,
            **_rolled(path),
        }
    )


def _rolled(path: Path) -> dict[str, list[object]]:
    moves = path.moves or tuple(Move(0, None, ()) for _ in path.steps)
    return {
        "rolls": [move.rolls for move in moves],
        "mean_scale": [move.mean_scale for move in moves],
        "natural": [move.last[0].natural if len(move.last) == 1 else None for move in moves],
        "outcome": [None if move.outcome is None else str(move.outcome) for move in moves],
        "scale": [move.scale for move in moves],
    }


def _plane(plane: Plane) -> pd.DataFrame:
    return _surface(plane.first, plane.second, plane.losses)


def _surface(first: Floats, second: Floats, losses: Floats, **more: str) -> pd.DataFrame:
    across, up = np.meshgrid(first, second)
    columns = {"first": across.ravel(), "second": up.ravel(), "loss": losses.ravel()}
    return pd.DataFrame({**more, **columns})
