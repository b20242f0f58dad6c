"""The harshest dice that training withstands: the last threshold before the first failure."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import pandas as pd

from lightning_dice.analysis.sweep.gather import Sweep
from lightning_dice.analysis.tolerance.families import ODDS, Family, odds_of
from lightning_dice.analysis.tolerance.means import Mean, each
from lightning_dice.analysis.tolerance.trials import by_seed
from lightning_dice.rules import Die, SettingError

SEED = ("subject", "family", "seed", "threshold", "below", "beyond", *ODDS)
ROW = (
    *("subject", "family", *Mean._fields, "below", "beyond", "agree"),
    *("lowest", "highest", *ODDS),
)


def withstood(survived: Sequence[bool | None]) -> int | None:
    """How many thresholds in a row are survived, from the mildest on.

    Args:
        survived: Threshold by threshold, the mildest first; ``None`` where there is no run.

    Returns:
        A number, or ``None`` where a missing run comes before the first failure.

    Example:
        >>> withstood([True, True, False, True]), withstood([True, None, False])
        (2, None)
    """
    for count, one in enumerate(survived):
        if not one:
            return None if one is None else count
    return len(survived)


def breakdown_by_seed(
    sweep: Sweep, trials: pd.DataFrame, subjects: int, families: Sequence[Family]
) -> pd.DataFrame:
    """The breakdown threshold of each subject, family and seed.

    Args:
        sweep: The runs.
        trials: What ``trials_of`` gives.
        subjects: How many there are.
        families: The families.

    Returns:
        ``subject``, ``family``, ``seed``, ``threshold`` (the last one that is survived; one below
        the grid where none is), ``below`` (none is survived), ``beyond`` (all are) and the odds at
        that threshold: those of plain training where none is survived. Seeds that lack a run before
        their first failure have no row.
    """
    odds = odds_of(sweep)
    rows = []
    for subject in range(subjects):
        for place, family in enumerate(families):
            table = by_seed(trials, subject, family.arms, "survives")
            arms = [int(arm) for arm in table.columns]
            if len(arms) < 2:
                continue
            grid = [sweep.arms[arm].threshold or 0 for arm in arms]
            for seed, row in table.iterrows():
                count = withstood([None if pd.isna(one) else bool(one) for one in row])
                if count is None:
                    continue
                threshold = grid[count - 1] if count else grid[0] - 1
                at = tuple(odds.loc[arms[count - 1]]) if count else (0.0, 0.0, 1.0)
                ends = count == 0, count == len(grid)
                rows.append((subject, place, seed, threshold, *ends, *at))
    return pd.DataFrame(rows, columns=[*SEED])


def possible_thresholds(die: str, grid: Sequence[int]) -> tuple[float, float]:
    """Return the lowest and the highest threshold that a seed can withstand.

    Args:
        die: Notation of the die; of a run that somebody else wrote it may be anything.
        grid: The thresholds that were trained with.

    Example:
        >>> possible_thresholds("d20+2", [5, 10])
        (1.0, 22.0)
    """
    low, high = min(grid), max(grid)
    with suppress(SettingError):  # Of a die that cannot be read only the grid is known.
        high = max(high, Die.parse(die).max_total)
    # A seed that withstands none counts as one below the grid, be that below every threshold.
    return float(min(1, low - 1)), float(high)


def breakdowns(sweep: Sweep, seeds: pd.DataFrame, families: Sequence[Family]) -> pd.DataFrame:
    """The breakdown threshold of each subject and family over the seeds.

    Args:
        sweep: The runs.
        seeds: What ``breakdown_by_seed`` gives.
        families: The families.

    Returns:
        ``subject``, ``family``, ``n`` (seeds), ``mean``, ``ci_low``, ``ci_high``, ``below`` and
        ``beyond`` (how many seeds lie outside the grid), ``agree`` (whether several seeds all have
        the same), ``lowest`` and ``highest`` (thresholds of the grid), and the mean odds.
    """
    rows = []
    for (subject, place), own in each(seeds, "subject", "family"):
        family = families[place]
        thresholds = [sweep.arms[arm].threshold or 0 for arm in family.arms]
        found = Mean.of(
            own["threshold"].to_numpy(float), possible_thresholds(family.arm.die, thresholds)
        )
        ends = int(own["below"].sum()), int(own["beyond"].sum())
        agree = found.n > 1 and own["threshold"].nunique() == 1
        grid = thresholds[0], thresholds[-1]
        odds = own[[*ODDS]].mean()
        rows.append((subject, place, *found, *ends, agree, *grid, *odds))
    return pd.DataFrame(rows, columns=[*ROW])
