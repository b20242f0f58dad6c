"""What each arm kept, beside the odds that it was trained with."""

from __future__ import annotations

import numpy as np
import pandas as pd

from lightning_dice.analysis.sweep.gather import Sweep
from lightning_dice.analysis.sweep.measure import Measure
from lightning_dice.analysis.tolerance.families import ODDS, odds_of
from lightning_dice.analysis.tolerance.means import FROM_ZERO, Mean, each

_KEPT = ("kept", "kept_low", "kept_high")
_FINAL = ("final", "final_low", "final_high")
ROW = ("subject", "arm", "n", "diverged", *_KEPT, *_FINAL, *ODDS)


def curves_of(sweep: Sweep, trials: pd.DataFrame, measure: Measure) -> pd.DataFrame:
    """The mean of each arm of each subject over its seeds.

    Args:
        sweep: The runs.
        trials: What ``trials_of`` gives.
        measure: The metric.

    Returns:
        ``subject``, ``arm``, ``n`` (runs), ``diverged`` (how many of them ended without a value),
        the mean and interval of what is kept (a diverged run keeps 0) and of the final metric (a
        diverged run has none), and the arm's odds: of plain those of training in full.
    """
    odds = odds_of(sweep)
    possible = measure.possible(trials["final"].to_numpy(float))
    rows = []
    for (subject, arm), own in each(trials, "subject", "arm"):
        _, *kept = Mean.of(own["kept"].to_numpy(float), FROM_ZERO)
        there, *final = Mean.of(own["final"].to_numpy(float), possible)
        plain = sweep.arms[arm].control == "plain"
        at = (0.0, 0.0, 1.0) if plain else tuple(odds.loc[arm])
        rows.append((subject, arm, len(own), len(own) - there, *kept, *final, *at))
    return pd.DataFrame(rows, columns=[*ROW])


def points(curves: pd.DataFrame, subject: int, arms: list[int], x: str, y: str) -> pd.DataFrame:
    """One curve: ``x``, ``mean``, ``low`` and ``high``, sorted by ``x``.

    Args:
        curves: What ``curves_of`` gives.
        subject: Whose.
        arms: Those that it goes through.
        x: A column of odds.
        y: ``kept`` or ``final``.
    """
    own = curves[(curves["subject"] == subject) & curves["arm"].isin(arms)]
    own = own[np.isfinite(own[x].to_numpy(float)) & np.isfinite(own[y].to_numpy(float))]
    named = {x: "x", y: "mean", f"{y}_low": "low", f"{y}_high": "high"}
    return pd.DataFrame(own[[*named]]).rename(columns=named).sort_values("x", kind="stable")
