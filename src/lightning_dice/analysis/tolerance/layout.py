"""The tables of the page: text in rows and groups, without any layout."""

from __future__ import annotations

import numpy as np

from lightning_dice.analysis.facts import NONE
from lightning_dice.analysis.phrases import figures, percent
from lightning_dice.analysis.sweep.arms import Arm
from lightning_dice.analysis.sweep.layout import Group, Table
from lightning_dice.analysis.sweep.statistics import NO_TEST, OPEN, TOO_FEW
from lightning_dice.analysis.tolerance.rows import (
    BreakdownRow,
    area_rows,
    breakdown_rows,
    scores,
)
from lightning_dice.analysis.tolerance.study import Tolerance
from lightning_dice.analysis.tolerance.texts import (
    certainty,
    rank,
    share,
    span,
    tenths,
    threshold,
)


def ranking_table(study: Tolerance) -> Table:
    """Every optimizer in the order of its rank, with what it was tuned to."""
    ranked = scores(study)
    rows = []
    for subject in study.order:
        cells = [NONE] * 4
        if row := ranked.get(subject):
            kept = share(row.mean), span(row.ci_low, row.ci_high)
            cells = [rank(row.best_rank, row.worst_rank), *kept, str(row.n)]
        plain, rate = plain_mean(study, subject), rate_of(study, subject)
        tuned = [
            NONE if np.isnan(plain) else study.measure.value(plain),
            NONE if np.isnan(rate) else f"{rate:g}",
        ]
        rows.append([study.subjects[subject].name, *cells, *tuned])
    columns = (
        *("optimizer", "rank", "kept on average", "95 % CI", "seeds", "plain reaches"),
        "learning rate",
    )
    return Table(columns, 1, [Group("", rows)])


def breakdown_table(study: Tolerance) -> Table:
    """The breakdown thresholds: a row for each optimizer, a column for each family."""
    found = breakdown_rows(study)
    families = range(len(study.families))
    rows = [
        [
            study.subjects[subject].name,
            *(_breakdown_cell(found.get((subject, family))) for family in families),
        ]
        for subject in study.order
    ]
    columns = ("optimizer", *(study.family_name(family) for family in families))
    return Table(columns, 1, [Group("", rows)])


def families_table(study: Tolerance) -> Table:
    """Family by family: areas, what the smaller step alone keeps, and the odds at the breakdown."""
    found, areas = breakdown_rows(study), area_rows(study)
    groups = []
    for family in range(len(study.families)):
        rows = []
        for subject in study.order:
            cells = [NONE] * 4
            if row := areas.get((subject, family)):
                both = share(row.kept_dice), share(row.kept_same_step)
                cells = [share(row.mean), span(row.ci_low, row.ci_high), *both]
            odds = _odds_cells(found.get((subject, family)))
            rows.append([study.subjects[subject].name, *cells, *odds])
        groups.append(Group(study.family_name(family), rows))
    columns = (
        *("optimizer", "area", "95 % CI", "dice keep", "same step keeps", "withstands"),
        *("inverted", "discarded", "E[s]"),
    )
    return Table(columns, 1, groups)


def pairs_table(study: Tolerance) -> Table:
    """Every pair of optimizers, the better one first."""
    rows = []
    for pair in study.ranking.pairs.to_dict("records"):
        first, second = pair["first"], pair["second"]
        low, high, gap = pair["ci_low"], pair["ci_high"], pair["difference"]
        if gap < 0:
            first, second, low, high, gap = second, first, -high, -low, -gap
        kind = pair["finding"]
        finding = kind if kind in (NO_TEST, OPEN, TOO_FEW) else "confirmed"
        p = pair["p_holm"]
        told = NONE if np.isnan(p) else "< 0.001" if p < 0.001 else figures(p, 2)
        names = study.subjects[first].name, study.subjects[second].name
        interval = NONE if np.isnan(low) else f"{tenths(100 * low)} to {tenths(100 * high)}"
        rows.append([*names, finding, tenths(100 * gap), interval, told])
    columns = ("kept more", "kept less", "finding", "by (pp)", "95 % CI", "p after Holm")
    return Table(columns, 3, [Group("", rows)])


def plain_mean(study: Tolerance, subject: int) -> float:
    """The mean of what plain training of a subject ends at; NaN where it has no value."""
    plain = study.sweep.arms.index(Arm("plain"))
    rows = study.curves[(study.curves["subject"] == subject) & (study.curves["arm"] == plain)]
    return float(rows["final"].mean())


def rate_of(study: Tolerance, subject: int) -> float:
    """The learning rate of a subject; NaN where it is not on record."""
    runs = study.sweep.runs
    return float(runs.loc[runs["context"] == study.subjects[subject].context, "lr"].max())


def _breakdown_cell(row: BreakdownRow | None) -> str:
    if row is None:
        return NONE
    sure = f" ({certainty(row)})" if row.n > 1 and not row.agree else ""
    return f"{threshold(row)}{sure}"


def _odds_cells(row: BreakdownRow | None) -> list[str]:
    if row is None:
        return [NONE] * 4
    odds = [NONE if np.isnan(value) else percent(value) for value in (row.inverse, row.discard)]
    mean = NONE if np.isnan(row.mean_scale) else figures(row.mean_scale)
    return [threshold(row), *odds, mean]
