"""The area under the curve of what is kept: one number for all thresholds of a family."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.integrate import trapezoid

from lightning_dice.analysis.readers import Floats
from lightning_dice.analysis.sweep.gather import Sweep
from lightning_dice.analysis.tolerance.families import Family, odds_of
from lightning_dice.analysis.tolerance.means import FROM_ZERO, Mean, each
from lightning_dice.analysis.tolerance.trials import by_seed, same_step_arms

ROW = ("subject", "family", *Mean._fields, "kept_dice", "kept_same_step")


def area(dose: Floats, kept: Floats, end: float) -> float:
    """The mean height of a curve that starts at plain training, by the trapezoid.

    Args:
        dose: The share of rolls that reverse (or discard), in any order; where several
            points have the same, their mean counts.
        kept: The share of what plain reaches that is kept at each. Plain itself, which keeps 1 at
            dose 0, is added.
        end: Where the curve ends, above 0 and at most the largest dose.

    Returns:
        1 where nothing is lost, 0 where nothing is left from the first dose on; above 1 where dice
        end better than plain.

    Example:
        >>> area(np.array([0.2, 0.4]), np.array([0.5, 0.0]), end=0.4)
        0.5
    """
    points = pd.Series(np.append(1.0, kept)).groupby(np.append(0.0, dose)).mean()
    at, height = points.index.to_numpy(float), points.to_numpy(float)
    before = at < end
    x, y = np.append(at[before], end), np.append(height[before], np.interp(end, at, height))
    return float(trapezoid(y, x) / end)


def reach(sweep: Sweep, trials: pd.DataFrame, family: Family) -> float:
    """The largest dose that all have of whom the family has several thresholds.

    Args:
        sweep: The runs.
        trials: What ``trials_of`` gives.
        family: The family.

    Returns:
        A share; NaN where odds are not on record.
    """
    own = trials.loc[trials["arm"].isin(family.arms), ["subject", "arm"]]
    own = own[own.groupby("subject")["arm"].transform("nunique") > 1]
    doses = own["arm"].map(odds_of(sweep)[family.dose]).groupby(own["subject"])
    if doses.apply(lambda dose: dose.isna().any()).any():
        return float("nan")
    return float(doses.max().min())


def areas_by_seed(
    sweep: Sweep, trials: pd.DataFrame, subjects: int, families: Sequence[Family]
) -> pd.DataFrame:
    """The area of each subject, family and seed.

    Args:
        sweep: The runs.
        trials: What ``trials_of`` gives.
        subjects: How many there are.
        families: The families.

    Returns:
        ``subject``, ``family``, ``seed`` and ``area``. Seeds that lack an arm of their subject's
        have no row, nor have families that neither invert nor discard.
    """
    odds = odds_of(sweep)
    rows = []
    for place, family in enumerate(families):
        end = reach(sweep, trials, family)
        if not end > 0:
            continue
        for subject in range(subjects):
            table = by_seed(trials, subject, family.arms, "kept").dropna()
            if len(table.columns) < 2:
                continue
            dose = odds.loc[list(table.columns), family.dose].to_numpy(float)
            rows += [
                (subject, place, seed, area(dose, row.to_numpy(float), end))
                for seed, row in table.iterrows()
            ]
    return pd.DataFrame(rows, columns=["subject", "family", "seed", "area"])


def areas(
    sweep: Sweep, trials: pd.DataFrame, seeds: pd.DataFrame, families: Sequence[Family]
) -> pd.DataFrame:
    """The area of each subject and family over the seeds, and what the smaller step alone keeps.

    Args:
        sweep: The runs.
        trials: What ``trials_of`` gives.
        seeds: What ``areas_by_seed`` gives.
        families: The families.

    Returns:
        ``subject``, ``family``, ``n`` (seeds), ``mean``, ``ci_low``, ``ci_high``, and the mean
        share kept by dice and by the control with the same mean step, over the thresholds
        and seeds that have both.
    """
    rows = []
    for (subject, place), own in each(seeds, "subject", "family"):
        both = _beside_same_step(sweep, trials, subject, families[place])
        rows.append((subject, place, *Mean.of(own["area"].to_numpy(float), FROM_ZERO), *both))
    return pd.DataFrame(rows, columns=[*ROW])


def _beside_same_step(
    sweep: Sweep, trials: pd.DataFrame, subject: int, family: Family
) -> tuple[float, float]:
    control = same_step_arms(sweep, family)
    own = trials.loc[trials["subject"] == subject, ["arm", "seed", "kept"]]
    dice = own[own["arm"].isin(control)]
    dice = dice.assign(control=dice["arm"].map(control))
    both = dice.merge(own, left_on=["control", "seed"], right_on=["arm", "seed"])
    return float(both["kept_x"].mean()), float(both["kept_y"].mean())
