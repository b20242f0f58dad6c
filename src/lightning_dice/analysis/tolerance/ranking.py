"""Which subject keeps most: scores, every pair tested, and ranks as far as they are confirmed."""

from __future__ import annotations

from itertools import combinations
from typing import NamedTuple

import numpy as np
import pandas as pd
from statsmodels.stats.multitest import multipletests

from lightning_dice.analysis.readers import Floats
from lightning_dice.analysis.rounding import rounding_error
from lightning_dice.analysis.sweep.statistics import (
    ALPHA,
    BETTER,
    MIN_SEEDS,
    NO_TEST,
    OPEN,
    TOO_FEW,
    WORSE,
    paired_test,
)
from lightning_dice.analysis.tolerance.means import FROM_ZERO, Mean

SCORE = ("subject", *Mean._fields, "best_rank", "worst_rank")
PAIR = ("first", "second", "n", "difference", "ci_low", "ci_high", "p", "p_holm", "finding")


class Ranking(NamedTuple):
    """The subjects that have a score on the same seeds.

    Attributes:
        table: ``subject``, ``n`` (seeds), ``mean`` (the score), ``ci_low``, ``ci_high``,
            ``best_rank`` and ``worst_rank``, the highest score first.
        pairs: ``first``, ``second``, ``n``, ``difference`` (first minus second), ``ci_low``,
            ``ci_high``, ``p``, ``p_holm`` and ``finding``.
        families: The families that count, those that every subject has.
    """

    table: pd.DataFrame
    pairs: pd.DataFrame
    families: tuple[int, ...]


def rank(areas: pd.DataFrame) -> Ranking:
    """Rank the subjects by the mean area over the families that all of them have.

    Args:
        areas: What ``areas_by_seed`` gives.

    Returns:
        The ranking; without rows where no family or no seed is common to all that have an area.
    """
    having = areas.groupby("family")["subject"].nunique()
    shared = tuple(int(family) for family in having.index[having == areas["subject"].nunique()])
    wide = areas[areas["family"].isin(shared)].pivot_table(
        index="seed", columns=["subject", "family"], values="area"
    )
    means = wide.dropna().T.groupby(level="subject").mean()
    scores = {
        int(subject): values
        for subject, values in zip(means.index, means.to_numpy(float), strict=True)
        if len(values)
    }
    pairs = compare_pairs(scores)
    rows = [
        (subject, *Mean.of(values, FROM_ZERO), *rank_range(subject, len(scores), pairs))
        for subject, values in scores.items()
    ]
    table = pd.DataFrame(rows, columns=[*SCORE]).sort_values("mean", ascending=False, kind="stable")
    return Ranking(table.reset_index(drop=True), pairs, shared if len(table) else ())


def compare_pairs(scores: dict[int, Floats]) -> pd.DataFrame:
    """The paired t test of every pair, with Holm's correction for all of them.

    Args:
        scores: Of each subject, one a seed, the same seeds in the same order.
    """
    rows = [
        (first, second, len(scores[first]), *_paired(scores[first], scores[second]))
        for first, second in combinations(sorted(scores), 2)
    ]
    table = pd.DataFrame(rows, columns=[*PAIR[:7]])
    tested = table["p"].notna()
    table["p_holm"] = np.nan
    if tested.any():
        table.loc[tested, "p_holm"] = multipletests(table.loc[tested, "p"], ALPHA, "holm")[1]
    numbers = table[["n", "p_holm", "difference"]].to_numpy(float)
    table["finding"] = [_finding(*row) for row in numbers]
    return table


def rank_range(subject: int, count: int, pairs: pd.DataFrame) -> tuple[int, int]:
    """The best and the worst rank that a subject may have.

    Args:
        subject: Which.
        count: How many there are.
        pairs: What ``compare_pairs`` gives.

    Returns:
        One more than are confirmed to be better, and all but those confirmed to be worse.
    """
    first, second = pairs["first"] == subject, pairs["second"] == subject
    better, worse = pairs["finding"] == BETTER, pairs["finding"] == WORSE
    above = int(((first & worse) | (second & better)).sum())
    below = int(((first & better) | (second & worse)).sum())
    return 1 + above, count - below


def _finding(n: float, p: float, gap: float) -> str:
    if n < MIN_SEEDS:
        return TOO_FEW
    if np.isnan(p):
        return NO_TEST
    return OPEN if p >= ALPHA else BETTER if gap > 0 else WORSE


def _paired(first: Floats, second: Floats) -> tuple[float, float, float, float]:
    """Mean, interval and p; NaN where seeds are too few, or all differ by the same."""
    size = np.maximum(np.abs(first), np.abs(second))
    differences = np.where(np.abs(first - second) <= rounding_error(size), 0.0, first - second)
    test = paired_test(differences, float(size.max()))
    low, high, p = (test.get(name, np.nan) for name in ("ci_low", "ci_high", "p"))
    return float(differences.mean()), low, high, p
