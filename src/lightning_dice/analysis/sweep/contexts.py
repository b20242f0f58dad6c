"""What runs must share before they may be compared: task and every setting but the dice's."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from lightning_dice.analysis.run import number, section

CHOICES = ("data", "model", "optimizer")
"""The groups whose choice has a name."""
_OWN = ("dice", "saving_throw", "control", "seed")
"""What an arm or a seed stands for already."""


def context_columns(summaries: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """The columns that tell the contexts of runs apart.

    Data, model and optimizer are always among them, and every other setting that differs between
    the runs: except those that a choice implies (the momentum that only one of two optimizers
    has), and those that say the seed again.

    Args:
        summaries: One a run.

    Returns:
        The value of each run by the column's name; ``None`` where a run has no such setting.
    """
    columns: dict[str, list[Any]] = {
        choice: [str(section(summary, "task").get(choice) or "") for summary in summaries]
        for choice in CHOICES
    }
    settings = [section(summary, "settings") for summary in summaries]
    for key in sorted({key for given in settings for key in given if _is_shared(key)}):
        # Runs from before settings were on record cannot contradict the others.
        there = [place for place, given in enumerate(settings) if given]
        values = {place: _plain(settings[place].get(key)) for place in there}
        if len(set(map(repr, values.values()))) < 2:
            continue
        if all(_is_seed(values[place], summaries[place]) for place in there):
            continue
        head = key.partition(".")[0]
        if head in columns and _is_implied(values, columns[head]):
            continue
        columns[key] = [values.get(place) for place in range(len(summaries))]
    return columns


def context_order(values: Sequence[Any]) -> tuple[Any, ...]:
    """Sorts contexts: numbers by size, words by the alphabet, nothing first."""
    return tuple(
        (0, 0.0, "")
        if value is None
        else (1, float(value), "")
        if isinstance(value, float)
        else (2, 0.0, str(value))
        for value in values
    )


def _is_shared(key: object) -> bool:
    return isinstance(key, str) and key.partition(".")[0] not in _OWN


def _plain(value: Any) -> str | float | None:
    """The value such that equal settings are equal: 1 is 1.0, but true is neither."""
    if value is None or isinstance(value, str):
        return value
    given = number(value)
    return json.dumps(value, default=str) if given is None else given


def _is_seed(value: object, summary: Mapping[str, Any]) -> bool:
    seed = number(summary.get("seed"))
    return seed is not None and value == seed


def _is_implied(values: Mapping[int, Any], choices: Sequence[str]) -> bool:
    by_choice: defaultdict[str, set[str]] = defaultdict(set)
    for place, value in values.items():
        by_choice[choices[place]].add(repr(value))
    return all(len(seen) == 1 for seen in by_choice.values())
