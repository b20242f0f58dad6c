"""A sweep as a test of optimizers: everything that words, tables and plots are made from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import pandas as pd

from lightning_dice.analysis.sweep.arms import DICE
from lightning_dice.analysis.sweep.find import LeftOut
from lightning_dice.analysis.sweep.gather import Sweep
from lightning_dice.analysis.sweep.labels import Labels
from lightning_dice.analysis.sweep.measure import Measure
from lightning_dice.analysis.tolerance.areas import areas, areas_by_seed
from lightning_dice.analysis.tolerance.breakdown import breakdown_by_seed, breakdowns
from lightning_dice.analysis.tolerance.curves import curves_of
from lightning_dice.analysis.tolerance.families import Family, families_of, family_name
from lightning_dice.analysis.tolerance.gaps import gaps
from lightning_dice.analysis.tolerance.ranking import Ranking, rank
from lightning_dice.analysis.tolerance.subjects import Subject, subjects_of
from lightning_dice.analysis.tolerance.trials import trials_of, without_plain
from lightning_dice.analysis.tolerance.within import Within
from lightning_dice.rules import SettingError


@dataclass(frozen=True, eq=False)
class Tolerance:
    """What was computed.

    Attributes:
        sweep: The runs; what this analysis leaves out is among what is left out.
        within: What counts as having survived.
        measure: The metric.
        subjects: The optimizers that are tested.
        families: The families of dice.
        labels: Names of the arms.
        trials: A row for each run that counts.
        curves: A row for each arm of each subject.
        breakdowns: A row for each subject and family.
        areas: A row for each subject and family.
        ranking: The subjects, ranked.
    """

    sweep: Sweep
    within: Within
    measure: Measure
    subjects: tuple[Subject, ...]
    families: tuple[Family, ...]
    labels: Labels
    trials: pd.DataFrame
    curves: pd.DataFrame
    breakdowns: pd.DataFrame
    areas: pd.DataFrame
    ranking: Ranking

    @classmethod
    def of(cls, sweep: Sweep, within: str) -> Tolerance:
        """Compute everything.

        Args:
            sweep: The runs, all of one task.
            within: How much worse than plain of the same seed a run may end, see ``Within.parse``.

        Raises:
            SettingError: If ``within`` cannot be read, the runs are of several tasks, or there is
                no subject with a plain arm and dice at two thresholds.
        """
        margin = Within.parse(within)
        subjects, families, unfit = _fit(sweep)
        measure = sweep.contexts[subjects[0].context].measure
        trials = trials_of(sweep, subjects, margin)
        count = len(subjects)
        by_seed = breakdown_by_seed(sweep, trials, count, families)
        area_by_seed = areas_by_seed(sweep, trials, count, families)
        labels = Labels.of(sweep)
        lacking = gaps(sweep, labels, trials, subjects, families, by_seed)
        left_out = (*sweep.left_out, *unfit, *without_plain(sweep, subjects), *lacking)
        return cls(
            sweep=replace(sweep, left_out=left_out),
            within=margin,
            measure=measure,
            subjects=tuple(subjects),
            families=tuple(families),
            labels=labels,
            trials=trials,
            curves=curves_of(sweep, trials, measure),
            breakdowns=breakdowns(sweep, by_seed, families),
            areas=areas(sweep, trials, area_by_seed, families),
            ranking=rank(area_by_seed),
        )

    @property
    def has_shares(self) -> bool:
        """Whether shares of what plain reaches can be told of this metric."""
        return bool(self.trials["kept"].notna().any())

    @property
    def seeds(self) -> int:
        """How many seeds there are."""
        return int(self.trials["seed"].nunique())

    @cached_property
    def order(self) -> list[int]:
        """The subjects as they are listed: by rank, and the others by where they break."""
        ranked = [int(subject) for subject in self.ranking.table["subject"]]
        means = self.breakdowns.groupby("subject")["mean"].mean()
        rest = [subject for subject in range(len(self.subjects)) if subject not in ranked]
        return ranked + sorted(rest, key=lambda subject: -float(means.get(subject, -1)))

    def family_name(self, family: int) -> str:
        """A family's name."""
        return family_name(self.labels, self.families[family])


def _fit(sweep: Sweep) -> tuple[list[Subject], list[Family], list[LeftOut]]:
    """The subjects that can be tested, the families that they are tested with, and the rest."""
    subjects, families, left_out = subjects_of(sweep), [], []
    fit: list[Subject] = []
    for subject in subjects:
        controls = _controls(sweep, subject)
        if DICE not in controls:
            left_out.append(LeftOut(subject.name, "no arm rolls dice"))
        elif "plain" not in controls:
            left_out.append(LeftOut(subject.name, "no plain run with a value to hold dice against"))
        elif not families_of(sweep, [subject.context]):
            left_out.append(LeftOut(subject.name, "no dice with two thresholds or more"))
        else:
            fit.append(subject)
    if not fit:
        raise SettingError("folder", ", ".join(sweep.folders), _remedy(left_out))
    families = families_of(sweep, [subject.context for subject in fit])
    return fit, families, left_out


def _controls(sweep: Sweep, subject: Subject) -> set[str]:
    own = sweep.runs[sweep.runs["context"] == subject.context]
    there = own[own["final"].notna() | (own["arm"].map(lambda a: sweep.arms[a].control) != "plain")]
    return {sweep.arms[arm].control for arm in there["arm"]}


def _remedy(left_out: Sequence[LeftOut]) -> str:
    reasons = dict.fromkeys(one.reason for one in left_out)
    return (
        f"there is nothing to test ({'; '.join(reasons)}); tolerance needs, for each optimizer, "
        "runs with control=plain and runs with control=none at several saving_throw.threshold"
    )
