"""Runs and what was measured of them, with the statistics over them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import pandas as pd

from lightning_dice.analysis.stress.measures import KEY, all_parts, tested_parts
from lightning_dice.analysis.stress.over_runs import noise_parts, window_parts, windows
from lightning_dice.analysis.stress.parts import Part, results_of
from lightning_dice.analysis.stress.record import COLUMNS, Record
from lightning_dice.analysis.sweep.find import LeftOut
from lightning_dice.analysis.sweep.gather import Sweep
from lightning_dice.analysis.sweep.labels import Labels
from lightning_dice.analysis.sweep.results import Results
from lightning_dice.rules import SettingError


@dataclass(frozen=True, eq=False)
class Stress:
    """Everything that is known of runs under stress.

    Attributes:
        sweep: The runs.
        labels: Their names.
        records: What was measured, by the run's label in ``sweep.runs``.
        measured: All measures: a row a value, the run's label in ``run``.
        tested: The measures that arms are compared by.
        results: Their statistics; a context for each of ``tested``.
        every: Each measure by itself.
        all_results: Their means and intervals; a context for each of ``every``.
        windows: The learning-rate windows.
    """

    sweep: Sweep
    labels: Labels
    records: Mapping[int, Record]
    measured: pd.DataFrame
    tested: tuple[Part, ...]
    results: Results
    every: tuple[Part, ...]
    all_results: Results | None
    windows: pd.DataFrame

    @classmethod
    def of(
        cls, sweep: Sweep, records: Mapping[str, Record], unmeasured: Sequence[LeftOut] = ()
    ) -> Stress:
        """Put runs and their records together.

        Args:
            sweep: The runs.
            records: By the runs' paths.
            unmeasured: The runs that could not be measured.

        Raises:
            SettingError: If there is nothing to show.
        """
        mine = {
            int(run): records[path]
            for run, path in zip(sweep.runs.index, sweep.runs["path"], strict=True)
            if path in records
        }
        frames = [record.measures.assign(run=run) for run, record in mine.items()]
        measured = pd.concat(frames) if frames else pd.DataFrame(columns=["run", *COLUMNS])
        found = windows(sweep)
        tested = [
            *tested_parts(sweep, measured),
            *noise_parts(sweep),
            *window_parts(sweep, found),
        ]
        if not tested:
            raise SettingError("run", ", ".join(sweep.folders), _nothing(unmeasured))
        every = all_parts(sweep, measured)
        sweep = replace(sweep, left_out=tuple(sorted([*sweep.left_out, *unmeasured])))
        return cls(
            sweep=sweep,
            labels=Labels.of(sweep),
            records=mine,
            measured=measured,
            tested=tuple(tested),
            results=results_of(sweep, tested),
            every=tuple(every),
            all_results=results_of(sweep, every, compared=False) if every else None,
            windows=found,
        )

    @cached_property
    def points(self) -> pd.DataFrame:
        """Each measure of each arm.

        The columns ``context`` and ``arm`` are positions in ``sweep``; the others are ``probe``,
        ``kind``, ``strength``, ``metric``, ``mean``, ``ci_low`` and ``ci_high``.
        """
        columns = ["context", "arm", *KEY, "mean", "ci_low", "ci_high"]
        if self.all_results is None:
            return pd.DataFrame(columns=columns)
        what = [
            {**{name: part.values[name] for name in KEY[:3]}, "metric": part.measure.metric}
            | {"context": int(part.runs["context"].iloc[0])}
            for part in self.every
        ]
        arms = self.all_results.arms
        keys = pd.DataFrame(what).iloc[arms["context"].to_numpy(int)].reset_index(drop=True)
        return keys.join(arms[["arm", "mean", "ci_low", "ci_high"]])[columns]


def _nothing(unmeasured: Sequence[LeftOut]) -> str:
    if not unmeasured:
        return "nothing was measured of any run"
    reasons = "; ".join(dict.fromkeys(f"{one.path}: {one.detail}" for one in unmeasured[:3]))
    return f"no run below it can be measured ({reasons})"
