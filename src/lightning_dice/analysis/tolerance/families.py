"""Families of dice, from the mildest threshold to the harshest, with the odds of each."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from lightning_dice.analysis.sweep.arms import DICE, Arm
from lightning_dice.analysis.sweep.gather import Sweep
from lightning_dice.analysis.sweep.labels import Labels

ODDS = ("inverse", "discard", "mean_scale")
"""The share of rolls that reverse, the share that discard, and E[s]."""


class Family(NamedTuple):
    """Arms of dice that only the threshold tells apart.

    Attributes:
        arm: What they share.
        arms: Their positions in the sweep, E[s] falling.
        dose: What its curves stand over: ``inverse``, or ``discard`` where nothing is inverted.
    """

    arm: Arm
    arms: tuple[int, ...]
    dose: str


def family_name(labels: Labels, family: Family) -> str:
    """What tells a family from the others; its dice, where there is no other."""
    arm = family.arm
    return labels.family(arm) or f"{arm.die}, {labels.scalings[arm.scaling]}"


def odds_of(sweep: Sweep) -> pd.DataFrame:
    """The odds of each arm, by its position; NaN where no run has them on record."""
    return sweep.runs.groupby("arm")[[*ODDS]].first()


def families_of(sweep: Sweep, contexts: list[int]) -> list[Family]:
    """The families that have several thresholds in one of the contexts, sorted as arms are."""
    odds = odds_of(sweep)
    there = sweep.runs[sweep.runs["context"].isin(contexts)]
    most: dict[Arm, int] = {}
    members: dict[Arm, set[int]] = {}
    for _, own in there.groupby("context")["arm"]:
        grids: dict[Arm, set[int]] = {}
        for place in own.unique():
            if sweep.arms[place].control == DICE:
                grids.setdefault(sweep.arms[place].family, set()).add(int(place))
        for arm, grid in grids.items():
            members.setdefault(arm, set()).update(grid)
            most[arm] = max(most.get(arm, 0), len(grid))
    return [
        _family(sweep, odds, arm, sorted(members[arm]))
        for arm in sorted(members, key=lambda arm: arm._replace(threshold=0).order)
        if most[arm] > 1
    ]


def _family(sweep: Sweep, odds: pd.DataFrame, arm: Arm, places: list[int]) -> Family:
    def harshness(place: int) -> tuple[float, int]:
        mean = float(odds.loc[place, "mean_scale"])  # type: ignore[arg-type]
        # Normalized to the mean, all have the same E[s] but for rounding errors.
        return -round(0.0 if np.isnan(mean) else mean, 9), sweep.arms[place].threshold or 0

    inverts = bool((odds.loc[places, "inverse"] > 0).any())
    return Family(arm, tuple(sorted(places, key=harshness)), "inverse" if inverts else "discard")
