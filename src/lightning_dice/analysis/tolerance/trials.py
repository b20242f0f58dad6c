"""Every run beside plain training of the same subject and seed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from lightning_dice.analysis.sweep.arms import DICE
from lightning_dice.analysis.sweep.find import LeftOut
from lightning_dice.analysis.sweep.gather import Sweep
from lightning_dice.analysis.tolerance.families import Family
from lightning_dice.analysis.tolerance.subjects import Subject
from lightning_dice.analysis.tolerance.within import Within, has_shares, kept
from lightning_dice.rules import SettingError

SAME_STEP = "plain_mean"
"""The control that trains without dice at their expected step."""


def trials_of(sweep: Sweep, subjects: Sequence[Subject], within: Within) -> pd.DataFrame:
    """The runs of dice, of plain and of the same mean step, that have a plain run beside them.

    Args:
        sweep: The runs.
        subjects: Those that count.
        within: What counts as having survived.

    Returns:
        ``subject`` (its position), ``arm``, ``seed``, ``final``, ``plain`` (what plain of the same
        seed ended at), ``kept`` (NaN throughout where the metric has no shares) and ``survives``.

    Raises:
        SettingError: If ``within`` is a share and the metric has none.
    """
    position = {subject.context: place for place, subject in enumerate(subjects)}
    runs = sweep.runs[sweep.runs["context"].isin(position)]
    runs = runs.assign(subject=runs["context"].map(position))
    controls = runs["arm"].map(lambda place: sweep.arms[place].control)
    plain = runs.loc[controls == "plain", ["subject", "seed", "final"]]
    plain = plain[plain["final"].notna()].rename(columns={"final": "plain"})
    runs = runs[controls.isin([DICE, "plain", SAME_STEP])]
    trials = runs[["subject", "arm", "seed", "final"]].merge(plain, on=["subject", "seed"])
    measure = sweep.contexts[subjects[0].context].measure
    value, held = trials["final"].to_numpy(float), trials["plain"].to_numpy(float)
    shares = has_shares(value, held, measure)
    if within.relative and not shares:
        raise SettingError(
            "within",
            f"{100 * within.amount:g}%",
            f"{measure.metric} is not above 0 in every run, so there is no share of it to keep; "
            'give a number in the unit of the metric, such as "0.02"',
        )
    return trials.assign(
        kept=kept(value, held, measure) if shares else np.nan,
        survives=within.survives(value, held, measure),
    )


def without_plain(sweep: Sweep, subjects: Sequence[Subject]) -> list[LeftOut]:
    """The seeds of dice that have no plain run with a value to be held against."""
    found = []
    for subject in subjects:
        own = sweep.runs[sweep.runs["context"] == subject.context]
        control = own["arm"].map(lambda place: sweep.arms[place].control)
        seeds = set(own.loc[(control == "plain") & own["final"].notna(), "seed"])
        found += [
            LeftOut(f"{subject.name}, seed {seed}", "has no plain run with a value")
            for seed in sorted(set(own.loc[control == DICE, "seed"]) - seeds)
        ]
    return found


def same_step_arms(sweep: Sweep, family: Family) -> dict[int, int]:
    """The control with the same mean step for each arm of a family that has one."""
    position = {arm: place for place, arm in enumerate(sweep.arms)}
    counterparts = {place: sweep.arms[place].counterpart(SAME_STEP) for place in family.arms}
    return {place: position[arm] for place, arm in counterparts.items() if arm in position}


def by_seed(trials: pd.DataFrame, subject: int, arms: Sequence[int], column: str) -> pd.DataFrame:
    """One column of a subject's runs: a row for each seed, a column for each arm that it has."""
    own = trials[trials["subject"] == subject]
    seeds, own = sorted(own["seed"].unique()), own[own["arm"].isin(arms)]
    table = own.pivot_table(index="seed", columns="arm", values=column, aggfunc="first")
    return table[[arm for arm in arms if arm in table.columns]].reindex(seeds)
