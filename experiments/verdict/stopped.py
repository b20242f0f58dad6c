"""Plain training where its training loss was what that of dice is at their end.

A die that only slows training down is worth no more than plain training that is stopped earlier.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from arms import PLAIN
from compare import compared, holm, is_dice, metric_of, paired
from stages import Rows, finalists

Point = Sequence[float | None]
"""Of a curve: step, loss and accuracy on the validation part, mean training loss since the last."""


def at_training_loss(curve: Sequence[Point], loss: float, column: int) -> tuple[float, float]:
    """Where a training first had a loss, and what its validation came to there.

    Args:
        curve: Of the training.
        loss: The training loss.
        column: Of the points: what is wanted of the validation part.

    Returns:
        The step and the value, between two points in proportion; not a number if the training never
        got there between two of its points.

    Example:
        >>> at_training_loss([(10, 2.0, None, 3.0), (20, 1.0, None, 1.0)], loss=1.5, column=1)
        (17.5, 1.25)
    """
    for before, after in pairwise(curve):
        high, low = before[3], after[3]
        if high is not None and low is not None and high >= loss >= low and high > low:
            share = (high - loss) / (high - low)
            between = np.array([before[0], before[column]]) * (1 - share)
            step, value = between + np.array([after[0], after[column]]) * share
            return float(step), float(value)
    return np.nan, np.nan


def same_training_loss(regime: str, base: str, rows: Rows) -> pd.DataFrame:
    """Dice at their end beside plain training at the same training loss, on the validation part.

    Returns:
        ``arm``, ``train loss``, ``step of plain`` (means), and what ``compare.paired`` tells of the
        differences, arm minus plain, of the seeds in which plain training got there; ``p_holm`` is
        over the arms.
    """
    metric, table = metric_of(regime), compared(regime, base, rows)
    column = 1 if metric.sign < 0 else 2
    plain = _by_seed(table, PLAIN.name)
    lines = []
    for arm in filter(is_dice, finalists(regime, base, rows)):
        own = _by_seed(table, arm.name)
        met = {
            seed: at_training_loss(plain[seed]["curve"], row["train_loss"], column)
            for seed, row in own.items()
        }
        ends = pd.Series({seed: row["curve"][-1][column] for seed, row in own.items()})
        there = pd.DataFrame(met, index=["step", "value"]).T
        lines.append(
            {"regime": regime, "base": base, "arm": arm.name}
            | {"train loss": np.mean([row["train_loss"] for row in own.values()])}
            | {"step of plain": there["step"].mean()}
            | paired(ends - there["value"], metric)
        )
    told = pd.DataFrame(lines)
    return told.assign(p_holm=holm(told["p"]))


def _by_seed(table: pd.DataFrame, arm: str) -> Mapping[int, Mapping[str, Any]]:
    own = table[(table["arm"] == arm) & ~table["diverged"].astype(bool)]
    return {row["seed"]: row for row in own.to_dict("records")}
