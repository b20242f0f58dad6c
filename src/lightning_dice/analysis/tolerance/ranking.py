"""Which subject keeps most: scores, every pair tested, and ranks as far as they are confirmed."""

from __future__ import annotations

from itertools import combinations
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats
from statsmodels.stats.multitest import multipletests

from lightning_dice.analysis.readers import Floats
from lightning_dice.analysis.sweep.statistics import (
    ALPHA,
    BETTER,
    LEVEL,
    NO_TEST,
    OPEN,
    ROUNDING,
    WORSE,
)
from lightning_dice.analysis.tolerance.means import Mean

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
        (subject, *Mean.of(values), *rank_range(subject, len(scores), pairs))
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
        (first, second, len(scores[first]), *_paired(scores[first] - scores[second]))
        for first, second in combinations(sorted(scores), 2)
    ]
    table = pd.DataFrame(rows, columns=[*PAIR[:7]])
    tested = table["p"].notna()
    table["p_holm"] = np.nan
    if tested.any():
        table.loc[tested, "p_holm"] = multipletests(table.loc[tested, "p"], ALPHA, "holm")[1]
    table["finding"] = [
        NO_TEST if np.isnan(p) else OPEN if p >= ALPHA else BETTER if gap > 0 else WORSE
        for p, gap in zip(table["p_holm"], table["difference"], strict=True)
    ]
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


def _paired(differences: Floats) -> tuple[float, float, float, float]:
    """Mean, interval and p; NaN where seeds are too few, or all differ by the same."""
    mean = float(differences.mean())
    # Scores are shares of about 1, which is what rounding errors are measured by.
    if len(differences) < 2 or float(differences.std(ddof=1)) <= ROUNDING:
        return mean, np.nan, np.nan, np.nan
    test = stats.ttest_1samp(differences, 0.0)
    low, high = test.confidence_interval(LEVEL)
    return mean, float(low), float(high), float(test.pvalue)
