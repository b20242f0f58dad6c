"""Runs that a curve lacks, and what cannot be told without them."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from lightning_dice.analysis.sweep.find import LeftOut
from lightning_dice.analysis.sweep.gather import Sweep
from lightning_dice.analysis.sweep.labels import Labels
from lightning_dice.analysis.tolerance.areas import reach
from lightning_dice.analysis.tolerance.families import Family, family_name
from lightning_dice.analysis.tolerance.subjects import Subject
from lightning_dice.analysis.tolerance.trials import by_seed


def gaps(
    sweep: Sweep,
    labels: Labels,
    trials: pd.DataFrame,
    subjects: Sequence[Subject],
    families: Sequence[Family],
    breakdown: pd.DataFrame,
) -> list[LeftOut]:
    """What is missing, one for each subject, family and seed, and for each family without areas.

    Args:
        sweep: The runs.
        labels: Names of the arms.
        trials: What ``trials_of`` gives.
        subjects: Those that count.
        families: The families.
        breakdown: What ``breakdown_by_seed`` gives.
    """
    known = set(breakdown[["subject", "family", "seed"]].itertuples(index=False, name=None))
    found = [
        LeftOut(family_name(labels, family), reason)
        for family in families
        if (reason := _without_area(sweep, trials, family))
    ]
    for place, family in enumerate(families):
        name = labels.family(family.arm)
        for position, subject in enumerate(subjects):
            table = by_seed(trials, position, family.arms, "survives")
            if len(table.columns) == 1:
                who = ", ".join(filter(None, [subject.name, name]))
                found.append(LeftOut(who, f"has one threshold only, so no {_NEITHER}"))
            for seed, row in table[table.isna().any(axis="columns")].iterrows():
                missing = [str(sweep.arms[int(arm)].threshold) for arm in row.index[row.isna()]]
                what = "area" if (position, place, seed) in known else _NEITHER
                who = ", ".join(filter(None, [subject.name, name, f"seed {seed}"]))
                found.append(
                    LeftOut(who, f"lacks runs, so it has no {what}", f"at {', '.join(missing)}")
                )
    return found


_NEITHER = "area and no breakdown threshold"


def _without_area(sweep: Sweep, trials: pd.DataFrame, family: Family) -> str:
    end = reach(sweep, trials, family)
    if end != end:
        return "has runs whose odds are not on record, so it has no area"
    if end == 0:
        return "reverses or discards no share above 0 that all have, so it has no area"
    return ""
