"""The rows of the tables, each with its names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from lightning_dice.analysis.tolerance.study import Tolerance


class BreakdownRow(NamedTuple):
    """A subject with a family: a row of ``breakdowns``."""

    subject: int
    family: int
    n: int
    mean: float
    ci_low: float
    ci_high: float
    below: int
    beyond: int
    agree: bool
    lowest: int
    highest: int
    inverse: float
    discard: float
    mean_scale: float


class AreaRow(NamedTuple):
    """A subject with a family: a row of ``areas``."""

    subject: int
    family: int
    n: int
    mean: float
    ci_low: float
    ci_high: float
    kept_dice: float
    kept_same_step: float


class Score(NamedTuple):
    """A subject: a row of the ranking."""

    subject: int
    n: int
    mean: float
    ci_low: float
    ci_high: float
    best_rank: int
    worst_rank: int


def breakdown_rows(study: Tolerance) -> Mapping[tuple[int, int], BreakdownRow]:
    """The breakdown thresholds by subject and family."""
    table = study.breakdowns[[*BreakdownRow._fields]]
    rows = map(BreakdownRow._make, table.itertuples(index=False, name=None))
    return {(row.subject, row.family): row for row in rows}


def area_rows(study: Tolerance) -> Mapping[tuple[int, int], AreaRow]:
    """The areas by subject and family."""
    table = study.areas[[*AreaRow._fields]]
    rows = map(AreaRow._make, table.itertuples(index=False, name=None))
    return {(row.subject, row.family): row for row in rows}


def scores(study: Tolerance) -> Mapping[int, Score]:
    """The ranked subjects, the highest score first."""
    table = study.ranking.table[[*Score._fields]]
    rows = map(Score._make, table.itertuples(index=False, name=None))
    return {row.subject: row for row in rows}
