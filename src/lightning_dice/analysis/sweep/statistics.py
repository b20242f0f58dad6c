"""Means, paired differences and what may be concluded from them: pandas and SciPy do the sums."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower

from lightning_dice.analysis.readers import Floats
from lightning_dice.analysis.rounding import rounding_error
from lightning_dice.analysis.sweep.arms import CONTROLS, DICE
from lightning_dice.analysis.sweep.gather import Sweep
from lightning_dice.analysis.sweep.learned import learned
from lightning_dice.analysis.sweep.measure import Measure

LEVEL = 0.95
ALPHA = 0.05
POWER = 0.8
MIN_SEEDS = 4
"""Fewest seeds with which anything is tested. With two or three an interval is often wider than the
metric's range, and a p-value rests on a spread that so few values hardly show."""

BETTER, WORSE, OPEN, NO_TEST = "better", "worse", "cannot be told apart", "no test"
TOO_FEW = "too few seeds"
"""There are pairs, but fewer than ``MIN_SEEDS``."""
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
        table["n"].to_numpy(float),
        table["mean"].to_numpy(float),
        table["sd"].to_numpy(float),
        bounds(sweep, table.index.get_level_values("context")),
    )
    with np.errstate(over="ignore", invalid="ignore"):
        for column in ("best", "mean_scale", "efficiency"):
            table[column] = grouped[column].mean()
    table = table.reset_index()
    table["learned"] = learned(sweep, table)
    order = ["context", "arm", "n", "diverged", "mean", "sd", "ci_low", "ci_high", "min", "max"]
    return table[[*order, "best", "mean_scale", "efficiency", "learned"]]


def interval(
    n: Floats,
    mean: Floats,
    sd: Floats,
    possible: tuple[float | Floats, float | Floats] = (-np.inf, np.inf),
) -> tuple[Floats, Floats]:
    """Return the 95 % confidence interval of means by Student's t; NaN where there is none.

    There is none for fewer than ``MIN_SEEDS`` values, nor for values that are all the same but for
    rounding. An interval ends where the quantity does: an accuracy of more than 100 % is no value
    that the mean could have.

    Args:
        n: How many values.
        mean: Their means.
        sd: Their standard deviations.
        possible: The lowest and the highest value that the quantity can have.

    Example:
        >>> interval(np.array(4), np.array(0.98), np.array(0.03), (0.0, 1.0))[1].item()
        1.0
    """
    with np.errstate(all="ignore"):
        some = (n >= MIN_SEEDS) & (sd > rounding_error(mean)) & np.isfinite(sd)
        freedom, error = np.where(some, n - 1, 1), np.where(some, sd / np.sqrt(n), 1)
        low, high = stats.t.interval(LEVEL, freedom, loc=mean, scale=error)
    low, high = np.maximum(low, possible[0]), np.minimum(high, possible[1])
    return np.where(some, low, np.nan), np.where(some, high, np.nan)


def bounds(sweep: Sweep, contexts: Iterable[int]) -> tuple[Floats, Floats]:
    """Return the lowest and the highest value that the metric of each context can have.

    Args:
        sweep: The runs.
        contexts: Positions of contexts, in any order and number.
    """
    of, final = (sweep.runs[name].to_numpy() for name in ("context", "final"))
    ends = [
        context.measure.possible(final[of == place]) for place, context in enumerate(sweep.contexts)
    ]
    low, high = np.array([ends[place] for place in contexts], dtype=float).reshape(-1, 2).T
    return low, high


def differences(sweep: Sweep) -> pd.DataFrame:
    """The differences between dice and each of their controls, seed by seed.

    Returns:
        ``context``, ``arm``, ``control`` (its position among the arms), ``seed``, ``difference``
        (dice minus control, NaN where one of the two has no value, 0 where the two are the same but
        for rounding) and ``size`` (the larger of the two). An arm that shares no seed with a
        control has no rows for it.
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
    both = together[["final", "held_against"]]
    together["size"] = both.abs().max(axis="columns")
    together["difference"] = together["final"] - together["held_against"]
    same = together["difference"].abs() <= rounding_error(together["size"].to_numpy(float))
    together.loc[same, "difference"] = 0.0
    return together[["context", "arm", "control", "seed", "difference", "size"]]


def compare(sweep: Sweep) -> pd.DataFrame:
    """A row for each arm of dice and each control that its context has.

    Returns:
        ``context``, ``arm``, ``control``, ``n`` (pairs), ``lost`` (pairs of which one run has no
        value), ``difference`` (mean of dice minus control), ``sd``, ``ci_low``, ``ci_high``, ``p``,
        ``p_holm``, ``effect_size``, ``wins``, ``losses``, ``ties``, ``detectable`` and
        ``finding``. NaN stands where there is nothing to compute, and where fewer than
        ``MIN_SEEDS`` pairs allow no test.
    """
    low, high = bounds(sweep, range(len(sweep.contexts)))
    rows = [
        {"context": context, "arm": arm, "control": control}
        | _paired(sweep.contexts[context].measure, group, float(high[context] - low[context]))
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


def _groups(sweep: Sweep) -> list[tuple[tuple[int, int, int], pd.DataFrame]]:
    """The differences of every arm and control that stand in the same context, even if none."""
    pairs = differences(sweep)
    given: dict[Any, pd.DataFrame] = dict(list(pairs.groupby(["context", "arm", "control"])))
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
    return [(key, given.get(key, pairs[:0])) for key in keys]


def _paired(measure: Measure, all_pairs: pd.DataFrame, farthest: float) -> dict[str, Any]:
    pairs = all_pairs[np.isfinite(all_pairs["difference"].to_numpy(float))]
    values, n = pairs["difference"].to_numpy(float), len(pairs)
    row: dict[str, Any] = {"n": n, "lost": len(all_pairs) - n}
    gains = values if measure.mode == "max" else -values
    row |= {
        "wins": int((gains > 0).sum()),
        "losses": int((gains < 0).sum()),
        "ties": int((gains == 0).sum()),
    }
    if not n:
        return row
    with np.errstate(all="ignore"):
        row |= {"difference": float(values.mean())}
        row |= {"sd": float(values.std(ddof=1)) if n > 1 else np.nan}
    return row | paired_test(values, float(pairs["size"].max()), farthest)


def paired_test(values: Floats, size: float, farthest: float = np.inf) -> dict[str, float]:
    """Return what the paired t test says of differences; nothing where they allow no test.

    They allow none where there are fewer than ``MIN_SEEDS``, or where all are the same but for
    rounding.

    Args:
        values: The differences, a number each.
        size: How large the values are that they are the differences of.
        farthest: The largest difference that is possible.

    Returns:
        ``ci_low``, ``ci_high``, ``p``, ``effect_size`` and ``detectable``.
    """
    n = len(values)
    with np.errstate(all="ignore"):
        mean, sd = float(values.mean()), float(values.std(ddof=1)) if n > 1 else np.nan
        if n < MIN_SEEDS or not np.isfinite(sd) or sd <= rounding_error(max(size, abs(mean))):
            return {}
        test = stats.ttest_1samp(values, 0.0)
        low, high = test.confidence_interval(LEVEL)
    return {
        "ci_low": max(float(low), -farthest),
        "ci_high": min(float(high), farthest),
        "p": float(test.pvalue),
        "effect_size": mean / sd,
        "detectable": detectable_effect(n) * sd,
    }


def _finding(sweep: Sweep, row: dict[Any, Any]) -> str:
    if row["n"] < MIN_SEEDS:
        return TOO_FEW if row["n"] else NO_TEST
    if np.isnan(row["p_holm"]):
        return OPEN if row["ties"] == row["n"] else NO_TEST
    if row["ci_low"] <= 0 <= row["ci_high"]:
        return OPEN
    if row["p_holm"] >= ALPHA:
        return UNCONFIRMED
    measure = sweep.contexts[row["context"]].measure
    return BETTER if measure.gain(row["difference"]) > 0 else WORSE
