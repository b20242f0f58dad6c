"""A sweep: the runs that count, the contexts and arms that they belong to, and what is left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from lightning_dice.analysis.run import finite, section
from lightning_dice.analysis.sweep.arms import PLACE, THROW, Arm, factors, scaling_labels
from lightning_dice.analysis.sweep.contexts import context_columns, context_order
from lightning_dice.analysis.sweep.find import LeftOut, find_runs
from lightning_dice.analysis.sweep.measure import Measure
from lightning_dice.analysis.sweep.reading import Reading, describe, read_curve, read_run
from lightning_dice.rules import SettingError

COLUMNS = ("control", *THROW, *PLACE)
"""The columns that an arm has in every table."""


class Context(NamedTuple):
    """Runs that may be compared.

    Attributes:
        values: What they share, by column.
        measure: The metric that they are judged by.
        baseline: The mean of what the metric is held against; ``None`` where there is nothing.
    """

    values: Mapping[str, Any]
    measure: Measure
    baseline: float | None


_ON_GRADIENTS = (
    "Controls of the learning rate share the mean step of scaled updates. With target gradient "
    "this need not hold: adaptive optimizers rescale the gradients and momentum mixes them, so a "
    "reversed gradient need not reverse a step."
)


@dataclass(frozen=True, eq=False)
class Sweep:
    """What was found below some folders.

    Attributes:
        folders: Where.
        runs: A row for each run that counts, sorted by context, arm and seed. ``context`` and
            ``arm`` are positions in the two lists below; ``final`` is NaN for a run without a
            value.
        curves: The metric over the steps: ``run`` is a label of ``runs``' index.
        contexts: The contexts, sorted.
        arms: The arms, sorted; the same arm in two contexts is one.
        scalings: The label of each scaling.
        left_out: What does not count, and why.
        versions: What the runs were made with: the distinct versions of each package, with how
            many runs each has.
    """

    folders: tuple[str, ...]
    runs: pd.DataFrame
    curves: pd.DataFrame
    contexts: tuple[Context, ...]
    arms: tuple[Arm, ...]
    scalings: Mapping[str, str]
    left_out: tuple[LeftOut, ...]
    versions: Mapping[str, Mapping[str, int]]

    @classmethod
    def load(cls, folders: Path | str | Sequence[Path | str]) -> Sweep:
        """Read every run below a folder or several.

        Raises:
            SettingError: If a folder does not exist, or no run counts.
        """
        folders = [folders] if isinstance(folders, str | Path) else folders
        found, left_out = find_runs(folders)
        readings = []
        for one in found:
            reading = read_run(one)
            if isinstance(reading, LeftOut):
                left_out.append(reading)
            else:
                readings.append(reading)
        counted, contexts, repeats = _place(readings)
        left_out += repeats
        if not counted:
            raise SettingError("folder", ", ".join(map(str, folders)), _nothing(left_out))
        arms = tuple(sorted({reading.arm for reading, _ in counted}, key=lambda arm: arm.order))
        position = {arm: place for place, arm in enumerate(arms)}
        counted.sort(key=lambda pair: (pair[1], position[pair[0].arm], pair[0].seed))
        rows, curves = [], []
        for run, (reading, context) in enumerate(counted):
            series, unread = read_curve(reading)
            left_out += unread
            curves.append(pd.DataFrame({"run": run, "step": series.step, "value": series.value}))
            row = describe(reading, series)
            rows.append({"context": context, "arm": position[reading.arm], **row})
        runs = pd.DataFrame(rows)
        labels = scaling_labels(arm.scaling for arm in arms)
        return cls(
            folders=tuple(map(str, folders)),
            runs=runs,
            curves=pd.concat(curves, ignore_index=True),
            contexts=_with_baselines(contexts, runs),
            arms=arms,
            scalings=labels,
            left_out=tuple(sorted(left_out)),
            versions=_versions([reading.found.summary for reading, _ in counted]),
        )

    def arm_cells(self, place: int) -> dict[str, Any]:
        """An arm's columns in a table: its control in the words of settings, its scaling short."""
        arm = self.arms[place]
        cells = arm._asdict()
        return {**cells, "scaling": self.scalings[arm.scaling]}

    def context_cells(self, place: int) -> dict[str, Any]:
        """A context's columns in a table; the metric is one where the contexts have several."""
        context = self.contexts[place]
        several = len({context.measure for context in self.contexts}) > 1
        return {**context.values, **({"metric": context.measure.metric} if several else {})}

    @property
    def own_tables(self) -> dict[str, str]:
        """The factors of each scaling that is a user's own table, by its label."""
        return {
            label: factors(scaling) for scaling, label in self.scalings.items() if label != scaling
        }

    @property
    def notes_on_targets(self) -> list[str]:
        """What holds only of some targets that were rolled for, a sentence each."""
        return [_ON_GRADIENTS] if any(arm.target == "gradient" for arm in self.arms) else []


def _place(
    readings: list[Reading],
) -> tuple[list[tuple[Reading, int]], list[Context], list[LeftOut]]:
    """Sort the runs into contexts; of the same arm and seed in a context, the first counts."""
    columns = context_columns([reading.found.summary for reading in readings])
    keys = [
        (tuple(values[place] for values in columns.values()), reading.measure)
        for place, reading in enumerate(readings)
    ]
    ordered = sorted(set(keys), key=lambda key: (context_order(key[0]), key[1]))
    position = {key: place for place, key in enumerate(ordered)}
    first: dict[Any, Reading] = {}
    kept, repeats = [], []
    together = sorted(
        zip(readings, keys, strict=True), key=lambda pair: (pair[0].started, pair[0].found.path)
    )
    for reading, key in together:
        same = first.setdefault((key, reading.arm, reading.seed), reading)
        if same is reading:
            kept.append((reading, position[key]))
        else:
            detail = f"as {same.found.path}, which started first"
            repeats.append(
                LeftOut(reading.found.path, "repeats the arm and seed of another run", detail)
            )
    contexts = [Context(dict(zip(columns, key[0], strict=True)), key[1], None) for key in ordered]
    return kept, contexts, repeats


def _with_baselines(contexts: list[Context], runs: pd.DataFrame) -> tuple[Context, ...]:
    means = runs.groupby("context")["baseline"].mean()
    return tuple(
        context._replace(baseline=finite(float(means[place])))
        for place, context in enumerate(contexts)
    )


def _versions(summaries: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, int]]:
    counts: dict[str, Counter[str]] = {}
    for summary in summaries:
        for name, version in section(summary, "versions").items():
            counts.setdefault(str(name), Counter())[str(version)] += 1
    return {name: dict(sorted(counted.items())) for name, counted in counts.items()}


def _nothing(left_out: Sequence[LeftOut]) -> str:
    if not left_out:
        return (
            "there is no run below it; expected folders with a summary.json, as "
            "lightning-dice-train leaves them"
        )
    reasons = Counter(one.reason for one in left_out)
    told = "; ".join(
        f"{count} \N{MULTIPLICATION SIGN} {why}" for why, count in reasons.most_common()
    )
    return f"no run below it counts ({told}); a report needs runs that have finished"
