"""Means, paired differences and what may be concluded from them: pandas and SciPy do the sums."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower

from lightning_dice.analysis.readers import Floats
from lightning_dice.analysis.sweep.arms import CONTROLS, DICE
from lightning_dice.analysis.sweep.gather import Sweep

LEVEL = 0.95
ALPHA = 0.05
POWER = 0.8
WAY = 0.1
"""How much of the way from the baseline to plain an arm must go to have learned."""
ROUNDING = 1e-12
"""Deviations below this part of the values are rounding errors, on which no test may stand."""

BETTER, WORSE, OPEN, NO_TEST = "better", "worse", "cannot be told apart", "no test"
UNCONFIRMED = "not confirmed"
"""The interval excludes 0, which among so many comparisons some do by chance."""


def summarise(sweep: Sweep) -> pd.DataFrame:
    """A row for each arm in each context.

    Returns:
        ``context``, ``arm``, ``n`` (runs with a value), ``diverged`` (runs without), ``mean``,
        ``sd``, ``ci_low``, ``ci_high``, ``min``, ``max``, ``best`` (the mean of the runs' best),
        ``mean_scale``, ``efficiency`` and ``learned`` (``True``, ``False`` or, where nothing can be
        said, ``None``).
    """
    grouped = sweep.runs.groupby(["context", "arm"])
    with np.errstate(over="ignore", invalid="ignore"):
        table = grouped["final"].agg(["count", "size", "mean", "std", "min", "max"])
    table["diverged"] = table.pop("size") - table["count"]
    table = table.rename(columns={"count": "n", "std": "sd"})
    table["ci_low"], table["ci_high"] = interval(
        table["n"].to_numpy(float), table["mean"].to_numpy(float), table["sd"].to_numpy(float)
    )
    for column in ("best", "mean_scale", "efficiency"):
        table[column] = grouped[column].mean()
    table = table.reset_index()
    table["learned"] = _learned(sweep, table)
    order = ["context", "arm", "n", "diverged", "mean", "sd", "ci_low", "ci_high", "min", "max"]
    return table[[*order, "best", "mean_scale", "efficiency", "learned"]]


def interval(n: Floats, mean: Floats, sd: Floats) -> tuple[Floats, Floats]:
    """The 95 % confidence interval of means by Student's t; NaN where there is none.

    There is none for fewer than two values, nor for values that are all the same.

    Args:
        n: How many values.
        mean: Their means.
        sd: Their standard deviations.
    """
    with np.errstate(all="ignore"):
        some = (n > 1) & (sd > ROUNDING * np.abs(mean)) & np.isfinite(sd)
        freedom, error = np.where(some, n - 1, 1), np.where(some, sd / np.sqrt(n), 1)
        low, high = stats.t.interval(LEVEL, freedom, loc=mean, scale=error)
    return np.where(some, low, np.nan), np.where(some, high, np.nan)


def differences(sweep: Sweep) -> pd.DataFrame:
    """The differences between dice and each of their controls, seed by seed.

    Returns:
        ``context``, ``arm``, ``control`` (its position among the arms), ``seed`` and
        ``difference``: dice minus control, NaN where one of the two has no value. An arm that
        shares no seed with a control has no rows for it.
    """
    position = {arm: place for place, arm in enumerate(sweep.arms)}
    pairs = [
        (place, position[arm.counterpart(control)])
        for place, arm in enumerate(sweep.arms)
        if arm.control == DICE
        for control in CONTROLS
        if arm.counterpart(control) in position
    ]
    against = pd.DataFrame(pairs, columns=["arm", "control"])
    runs = sweep.runs[["context", "arm", "seed", "final"]]
    dice = runs.merge(against, on="arm")
    controls = runs.rename(columns={"arm": "control", "final": "held_against"})
    together = dice.merge(controls, on=["context", "control", "seed"])
    together["difference"] = together["final"] - together["held_against"]
    return together[["context", "arm", "control", "seed", "difference"]]


def compare(sweep: Sweep) -> pd.DataFrame:
    """A row for each arm of dice and each control that its context has.

    Returns:
        ``context``, ``arm``, ``control``, ``n`` (pairs), ``lost`` (pairs of which one run has no
        value), ``difference`` (mean of dice minus control), ``sd``, ``ci_low``, ``ci_high``, ``p``,
        ``p_holm``, ``effect_size``, ``wins``, ``losses``, ``ties``, ``detectable`` and
        ``finding``. NaN stands where there is nothing to compute.
    """
    rows = [
        {"context": context, "arm": arm, "control": control, **_paired(sweep, context, group)}
        for (context, arm, control), group in _groups(sweep)
    ]
    table = pd.DataFrame(rows, columns=_COMPARED)
    p = table["p"].to_numpy(float)
    tested = np.isfinite(p)
    table["p_holm"] = np.nan
    if tested.any():
        table.loc[tested, "p_holm"] = multipletests(p[tested], ALPHA, method="holm")[1]
    table["finding"] = [_finding(sweep, row) for row in table.to_dict("records")]
    return table


_COMPARED = [
    *("context", "arm", "control", "n", "lost", "difference", "sd", "ci_low", "ci_high", "p"),
    *("p_holm", "effect_size", "wins", "losses", "ties", "detectable"),
]


@cache
def detectable_effect(pairs: int) -> float:
    """The smallest effect (in standard deviations) that so many pairs show 4 times out of 5.

    Example:
        >>> round(detectable_effect(10), 3)
        0.996
    """
    return float(TTestPower().solve_power(nobs=pairs, alpha=ALPHA, power=POWER))


def _groups(sweep: Sweep) -> list[tuple[tuple[int, int, int], Floats]]:
    """The differences of every arm and control that stand in the same context, even if none."""
    pairs = differences(sweep).groupby(["context", "arm", "control"])["difference"]
    given: dict[Any, Floats] = {key: group.to_numpy(float) for key, group in pairs}
    together = sweep.runs[["context", "arm"]].drop_duplicates()
    there = set(zip(together["context"], together["arm"], strict=True))
    position = {arm: place for place, arm in enumerate(sweep.arms)}
    keys = [
        (int(context), int(arm), position[counterpart])
        for context, arm in sorted(there)
        if sweep.arms[arm].control == DICE
        for counterpart in map(sweep.arms[arm].counterpart, CONTROLS)
        if (context, position.get(counterpart)) in there
    ]
    return [(key, given.get(key, np.array([]))) for key in keys]


def _paired(sweep: Sweep, context: int, all_pairs: Floats) -> dict[str, Any]:
    values = all_pairs[np.isfinite(all_pairs)]
    n = len(values)
    row: dict[str, Any] = {"n": n, "lost": len(all_pairs) - n}
    gains = values if sweep.contexts[context].measure.mode == "max" else -values
    row |= {
        "wins": int((gains > 0).sum()),
        "losses": int((gains < 0).sum()),
        "ties": int((gains == 0).sum()),
    }
    if not n:
        return row
    with np.errstate(all="ignore"):
        mean = float(values.mean())
        sd = float(values.std(ddof=1)) if n > 1 else np.nan
        row |= {"difference": mean, "sd": sd}
        if not np.isfinite(sd) or sd <= ROUNDING * max(_size(sweep, context), abs(mean)):
            return row
        test = stats.ttest_1samp(values, 0.0)
        low, high = test.confidence_interval(LEVEL)
    row |= {"ci_low": float(low), "ci_high": float(high), "p": float(test.pvalue)}
    row |= {"effect_size": mean / sd, "detectable": detectable_effect(n) * sd}
    return row


def _size(sweep: Sweep, context: int) -> float:
    """How large the metric is in a context: what rounding errors are measured by."""
    values = sweep.runs.loc[sweep.runs["context"] == context, "final"].abs()
    return float(values.median())


def _finding(sweep: Sweep, row: dict[Any, Any]) -> str:
    if not row["n"]:
        return NO_TEST
    if np.isnan(row["p_holm"]):
        same = row["n"] > 1 and row["ties"] == row["n"]
        return OPEN if same else NO_TEST
    if row["ci_low"] <= 0 <= row["ci_high"]:
        return OPEN
    if row["p_holm"] >= ALPHA:
        return UNCONFIRMED
    measure = sweep.contexts[row["context"]].measure
    return BETTER if measure.gain(row["difference"]) > 0 else WORSE


def _learned(sweep: Sweep, table: pd.DataFrame) -> list[bool | None]:
    rows = table.to_dict("records")
    plain = {
        row["context"]: row["mean"]
        for row in rows
        if sweep.arms[row["arm"]].control == "plain" and row["n"]
    }
    return [_has_learned(sweep, row, plain.get(row["context"])) for row in rows]


def _has_learned(sweep: Sweep, row: dict[Any, Any], plain: float | None) -> bool | None:
    context = sweep.contexts[row["context"]]
    if not row["n"]:
        return False  # every run diverged
    if context.baseline is None:
        return None
    whole = 0.0 if plain is None else context.measure.gain(plain - context.baseline)
    if whole > 0:
        return bool(context.measure.gain(row["mean"] - context.baseline) >= WAY * whole)
    if row["n"] < 2:
        return None
    ends = ("min", "max") if np.isnan(row["ci_low"]) else ("ci_low", "ci_high")
    return all(context.measure.gain(row[end] - context.baseline) > 0 for end in ends)
