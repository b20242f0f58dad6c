"""What may be said of the rows: arms with plain, dice with what they have to be held against."""

from __future__ import annotations

from collections.abc import Container, Iterator
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from arms import PLAIN, Arm, controls_of, named, regularisers
from regimes import REGIMES
from scipy import stats
from stages import (
    REPEATED_SEEDS,
    SEEDS,
    STANDING,
    Rows,
    edge_of,
    finalists,
    rate_of,
    repeated,
)
from statsmodels.stats.multitest import multipletests

from lightning_dice.analysis.sweep.statistics import ALPHA, LEVEL, detectable_effect

AGREE = 0.8
"""Of the seeds must say the same before anything is better or worse."""
STOPPED = "plain, stopped early"
"""Plain where its validation part was best."""


class Metric(NamedTuple):
    """What a regime is measured by.

    Attributes:
        column: Of the rows: the test value at the end.
        sign: 1 if more is better, -1 if less is.
        unit: Of differences as they are shown.
        factor: What differences are multiplied by to be in that unit.
    """

    column: str
    sign: int
    unit: str
    factor: float


TEXT = Metric("test_loss", -1, "nats per byte", 1.0)
LABELS = Metric("test_accuracy", 1, "percentage points", 100.0)


def metric_of(regime: str) -> Metric:
    """What a regime is measured by."""
    return LABELS if REGIMES[regime].labelled else TEXT


def values(regime: str, base: str, rows: Rows, seeds: Container[int] = SEEDS) -> pd.DataFrame:
    """The test values that are compared: a row a seed, a column an arm, NaN for what diverged."""
    metric = metric_of(regime)
    table = compared(regime, base, rows, seeds)
    table.loc[table["diverged"].astype(bool), metric.column] = np.nan
    wide = table.pivot_table(index="seed", columns="arm", values=metric.column, dropna=False)
    plain = table[table["arm"] == PLAIN.name].set_index("seed")
    wide[STOPPED] = plain[f"best_{metric.column}"].astype(float)
    return wide.reindex(columns=[*(arm.name for arm in finalists(regime, base, rows)), STOPPED])


def summary(regime: str, base: str, rows: Rows) -> pd.DataFrame:
    """A row for each arm: its rate, how many runs, and what they came to."""
    metric = metric_of(regime)
    table, wide = compared(regime, base, rows), values(regime, base, rows)
    lines = []
    for arm in finalists(regime, base, rows):
        own, ends = table[table["arm"] == arm.name], wide[arm.name]
        at_best = own[f"best_{metric.column}"].astype(float)
        lines.append(
            {
                "regime": regime,
                "base": base,
                "arm": arm.name,
                "lr": rate_of(regime, base, arm, rows),
                "on the edge": edge_of(regime, base, arm, rows),
                "steps": int(own["steps"].iloc[0]),
                "runs": len(own),
                "diverged": int(own["diverged"].sum()),
                "test": ends.mean(),
                "sd": ends.std(),
                "test at the best validation": at_best.mean(),
                "step of the best validation": own["best_step"].mean(),
                "train loss": own["train_loss"].mean(),
            }
        )
    return pd.DataFrame(lines)


def comparisons(regime: str, base: str, rows: Rows) -> pd.DataFrame:
    """A row for each comparison that the protocol names, with Holm's correction over all of them.

    Returns:
        ``arm``, ``against``, ``pairs``, ``difference`` (arm minus the other, in the metric's own
        units), ``low``, ``high`` (95 %), ``p``, ``p_holm``, ``seeds better``, ``would show`` and
        ``word``.
    """
    metric, wide = metric_of(regime), values(regime, base, rows)
    table = pd.DataFrame(
        [
            {"regime": regime, "base": base, "arm": arm, "against": other}
            | paired(wide[arm] - wide[other], metric)
            for arm, other in pairs(regime, base, rows)
        ]
    )
    table["p_holm"] = holm(table["p"])
    table["word"] = [_word(row, metric) for row in table.to_dict("records")]
    return table


def repetitions(regime: str, base: str, rows: Rows) -> pd.DataFrame:
    """Differences to plain in a first comparison and in a second one, with other seeds.

    Returns:
        ``arm``, ``first``, ``low``, ``high`` (95 %), ``second`` and ``within``: whether the second
        mean lies in the interval of the first. Arms that have not been run again are left out.
    """
    metric, lines = metric_of(regime), []
    again = compared(regime, base, rows, REPEATED_SEEDS)
    if again.empty:
        return again
    tables = [values(regime, base, rows, seeds) for seeds in (SEEDS, REPEATED_SEEDS)]
    for arm in repeated(regime, base, rows)[1:]:
        if (again["arm"] == arm.name).sum() < len(REPEATED_SEEDS):
            continue
        first, second = (paired(wide[arm.name] - wide[PLAIN.name], metric) for wide in tables)
        low, high, middle = first.get("low"), first.get("high"), second["difference"]
        lines.append(
            {"regime": regime, "base": base, "arm": arm.name, "first": first["difference"]}
            | {"low": low, "high": high, "second": middle}
            | {"within": None if low is None else low <= middle <= high}
        )
    return pd.DataFrame(lines)


def pairs(regime: str, base: str, rows: Rows) -> Iterator[tuple[str, str]]:
    """What is compared with what."""
    there = finalists(regime, base, rows)
    names = {arm.name for arm in there}
    for arm in there[1:]:
        yield arm.name, PLAIN.name
    regularised = [arm.name for arm in there if arm in regularisers()]
    dice = [arm for arm in there if is_dice(arm)]
    for arm in dice:
        for other in (*regularised, "skipupdate", STOPPED):
            yield arm.name, other
    for name in dict.fromkeys((dice[0].name, STANDING)):
        yield from ((name, own.name) for own in controls_of(named(name)) if own.name in names)


def is_dice(arm: Arm) -> bool:
    """Whether an arm is one of the dice, and none of their controls."""
    return arm.name.startswith("t") and arm.throw is not None


def compared(regime: str, base: str, rows: Rows, seeds: Container[int] = SEEDS) -> pd.DataFrame:
    """The rows of the comparison, of nothing that was only tried."""
    rates = {arm.name: rate_of(regime, base, arm, rows) for arm in finalists(regime, base, rows)}
    return pd.DataFrame(
        row
        for row in rows
        if (row["regime"], row["base"]) == (regime, base)
        and row["seed"] in seeds
        and rates.get(row["arm"]) == row["lr"]
    )


def holm(p: pd.Series) -> pd.Series:
    """p-values corrected by Holm's method; what has none is not counted."""
    corrected = pd.Series(np.nan, index=p.index)
    corrected[p.notna()] = multipletests(p[p.notna()], ALPHA, "holm")[1]
    return corrected


def paired(all_differences: pd.Series, metric: Metric) -> dict[str, Any]:
    """What is told of the differences of pairs.

    Returns:
        ``pairs``, ``difference`` (their mean), ``seeds better``, ``seeds worse`` and ``p``; where
        there is a deviation also ``low``, ``high`` (95 %) and ``would show``.
    """
    differences = all_differences.dropna()
    n = len(differences)
    better = int((metric.sign * differences > 0).sum())
    row: dict[str, Any] = {"pairs": n, "difference": differences.mean(), "seeds better": better}
    row |= {"seeds worse": int((metric.sign * differences < 0).sum()), "p": np.nan}
    if n < 2 or not differences.std():
        return row
    test = stats.ttest_1samp(differences, 0.0)
    low, high = test.confidence_interval(LEVEL)
    shown = detectable_effect(n) * differences.std()
    return row | {"low": low, "high": high, "p": test.pvalue, "would show": shown}


def _word(row: dict[str, Any], metric: Metric) -> str:
    if not row["pairs"]:
        return "worse"  # all of its runs diverged
    needed = AGREE * len(SEEDS)
    if row["p_holm"] < ALPHA:
        if metric.sign * row["difference"] > 0 and row["seeds better"] >= needed:
            return "better"
        if metric.sign * row["difference"] < 0 and row["seeds worse"] >= needed:
            return "worse"
    return "cannot be told apart"
