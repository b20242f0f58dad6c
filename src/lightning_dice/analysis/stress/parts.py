"""One measure of many runs in the shape of a sweep, from which statistics are made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import pandas as pd

from lightning_dice.analysis.sweep.gather import Context, Sweep
from lightning_dice.analysis.sweep.labels import Labels
from lightning_dice.analysis.sweep.measure import Measure
from lightning_dice.analysis.sweep.results import Results
from lightning_dice.analysis.sweep.statistics import compare, summarise

GOOD = ("better", "worse")
FLAT = ("flatter", "sharper")
"""What less sharpness is: neither better nor worse."""
WIDE = ("wider", "narrower")


class Part(NamedTuple):
    """A measure of the runs of one context.

    Attributes:
        name: The context's name; may be empty.
        measure: What was measured.
        words: What a difference the one way and the other is called.
        values: What the runs share, by column.
        runs: Rows of ``Sweep.runs``, whose ``final`` is the measured value.
    """

    name: str
    measure: Measure
    words: tuple[str, str]
    values: Mapping[str, Any]
    runs: pd.DataFrame


def results_of(sweep: Sweep, parts: Sequence[Part], compared: bool = True) -> Results:
    """The statistics of all parts together, each a context of its own.

    Args:
        sweep: Where the runs are from.
        parts: One or more.
        compared: Whether dice are compared with their controls; there are no comparisons otherwise.
    """
    rows = [part.runs.assign(context=place) for place, part in enumerate(parts)]
    derived = replace(
        sweep,
        runs=pd.concat(rows).sort_values(["context", "arm", "seed"]).reset_index(drop=True),
        curves=sweep.curves[:0],
        contexts=tuple(Context(part.values, part.measure, None) for part in parts),
    )
    labels = replace(Labels.of(derived), contexts=tuple(part.name for part in parts))
    pairs = derived if compared else replace(derived, runs=derived.runs[:0])
    return Results(derived, labels, summarise(derived), compare(pairs))


def context_names(sweep: Sweep, contexts: Sequence[Context]) -> tuple[str, ...]:
    """A name for each context, as far as it takes one to tell it from the others."""
    return Labels.of(replace(sweep, contexts=tuple(contexts))).contexts
