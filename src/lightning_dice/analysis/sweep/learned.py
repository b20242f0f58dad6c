"""Whether an arm has learned anything, beside plain training or beside the baseline."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from lightning_dice.analysis.rounding import rounding_error
from lightning_dice.analysis.sweep.gather import Context, Sweep

WAY = 0.1
"""How much of the way from the baseline to plain an arm must go to have learned."""


def learned(sweep: Sweep, table: pd.DataFrame) -> list[bool | None]:
    """Say of each arm whether it learned; ``None`` where that cannot be said.

    Args:
        sweep: The runs.
        table: A row per arm and context, with ``n``, ``diverged``, ``mean``, the interval, ``min``
            and ``max``.
    """
    rows = table.to_dict("records")
    plain = {
        row["context"]: row
        for row in rows
        if sweep.arms[row["arm"]].control == "plain" and row["n"] and row["diverged"] <= row["n"]
    }
    return [
        _has_learned(sweep.contexts[row["context"]], row, plain.get(row["context"])) for row in rows
    ]


def _has_learned(
    context: Context, row: dict[Any, Any], plain: dict[Any, Any] | None
) -> bool | None:
    if row["diverged"] > row["n"]:
        return False  # A mean over the few runs that are left would flatter the arm.
    if context.baseline is None:
        return None
    if plain is not None and _beats_baseline(context, plain):
        way = context.measure.gain(row["mean"] - context.baseline)
        return bool(way >= WAY * context.measure.gain(plain["mean"] - context.baseline))
    return _beats_baseline(context, row) if row["n"] > 1 else None


def _beats_baseline(context: Context, row: dict[Any, Any]) -> bool | None:
    """Whether an arm is better than the baseline by more than the luck of its seeds."""
    assert context.baseline is not None
    certain = not np.isnan(row["ci_low"])
    ends = [row[end] for end in (("ci_low", "ci_high") if certain else ("min", "max"))]
    error = rounding_error(context.baseline)
    better = [context.measure.gain(end - context.baseline) > error for end in ends]
    if any(better) and not all(better) and not certain:
        return None  # The seeds disagree, and are too few for an interval.
    return all(better)
