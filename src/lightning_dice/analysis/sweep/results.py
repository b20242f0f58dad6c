"""A sweep with its statistics: what words, tables and plots are made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import pandas as pd

from lightning_dice.analysis.sweep.arms import CONTROLS, DICE, Arm
from lightning_dice.analysis.sweep.gather import Context, Sweep
from lightning_dice.analysis.sweep.labels import Labels
from lightning_dice.analysis.sweep.statistics import BETTER, NO_TEST, TOO_FEW, compare, summarise

NEEDED = ("plain_mean", "gaussian", "deck")
"""What dice must beat, too, before a gain over plain is theirs."""


class Summary(NamedTuple):
    """An arm in a context: a row of ``summarise``."""

    context: int
    arm: int
    n: int
    diverged: int
    mean: float
    sd: float
    ci_low: float
    ci_high: float
    min: float
    max: float
    best: float
    mean_scale: float
    efficiency: float
    learned: bool | None


class Comparison(NamedTuple):
    """An arm of dice beside one control: a row of ``compare``."""

    context: int
    arm: int
    control: int
    n: int
    lost: int
    difference: float
    sd: float
    ci_low: float
    ci_high: float
    p: float
    p_holm: float
    effect_size: float
    wins: int
    losses: int
    ties: int
    detectable: float
    finding: str


class Family(NamedTuple):
    """Arms of dice in one context that only the threshold tells apart, ascending.

    Attributes:
        context: The context's position.
        arm: What they share.
        arms: Their positions.
    """

    context: int
    arm: Arm
    arms: tuple[int, ...]


class Credit(NamedTuple):
    """Whom a gain over plain belongs to.

    Attributes:
        unbeaten: The controls that the dice did not beat.
        missing: The controls that would have to be beaten, too, and are not there to be.
    """

    unbeaten: tuple[str, ...]
    missing: tuple[str, ...]

    @property
    def earned(self) -> bool:
        """Whether it is the dice's."""
        return not self.unbeaten and not self.missing


@dataclass(frozen=True, eq=False)
class Results:
    """Everything that was computed from a sweep.

    Attributes:
        sweep: The runs.
        labels: Their names.
        arms: The table of ``summarise``.
        comparisons: The table of ``compare``.
    """

    sweep: Sweep
    labels: Labels
    arms: pd.DataFrame
    comparisons: pd.DataFrame

    @classmethod
    def of(cls, sweep: Sweep) -> Results:
        """Compute them."""
        return cls(sweep, Labels.of(sweep), summarise(sweep), compare(sweep))

    @cached_property
    def summaries(self) -> Mapping[tuple[int, int], Summary]:
        """The rows of ``arms`` by context and arm."""
        columns = self.arms[[*Summary._fields]]
        rows = map(Summary._make, columns.itertuples(index=False, name=None))
        return {(row.context, row.arm): row for row in rows}

    @cached_property
    def compared(self) -> Mapping[tuple[int, int], Mapping[str, Comparison]]:
        """The rows of ``comparisons`` by context and arm, and then by the control's name."""
        columns = self.comparisons[[*Comparison._fields]]
        compared: dict[tuple[int, int], dict[str, Comparison]] = {}
        for row in map(Comparison._make, columns.itertuples(index=False, name=None)):
            control = self.sweep.arms[row.control].control
            compared.setdefault((row.context, row.arm), {})[control] = row
        return compared

    @cached_property
    def families(self) -> tuple[Family, ...]:
        """The families of dice, sorted."""
        members: dict[tuple[int, Arm], list[int]] = {}
        for context, arm in self.summaries:
            if self.sweep.arms[arm].control == DICE:
                members.setdefault((context, self.sweep.arms[arm].family), []).append(arm)
        return tuple(Family(context, arm, tuple(arms)) for (context, arm), arms in members.items())

    @property
    def family_size(self) -> int:
        """How many comparisons were tested, for which Holm's method corrects."""
        return int(self.comparisons["p"].notna().sum())

    def controls(self, context: int) -> tuple[str, ...]:
        """The controls that a context has, in their order."""
        there = {self.sweep.arms[arm].control for where, arm in self.summaries if where == context}
        return tuple(control for control in CONTROLS if control in there)

    def summary(self, context: int, arm: Arm) -> Summary | None:
        """The summary of an arm by what it is."""
        place = self._positions.get(arm)
        return None if place is None else self.summaries.get((context, place))

    def credit(self, context: int, arm: int) -> Credit | None:
        """Whom an arm's gain over plain belongs to; ``None`` where there is none."""
        compared = self.compared.get((context, arm), {})
        if "plain" not in compared or compared["plain"].finding != BETTER:
            return None
        untested = (NO_TEST, TOO_FEW)
        tested = {name: row for name, row in compared.items() if row.finding not in untested}
        return Credit(
            tuple(name for name, row in tested.items() if row.finding != BETTER),
            tuple(name for name in NEEDED if name not in tested),
        )

    def context(self, place: int) -> Context:
        """A context by its position."""
        return self.sweep.contexts[place]

    @cached_property
    def _positions(self) -> Mapping[Arm, int]:
        return {arm: place for place, arm in enumerate(self.sweep.arms)}
