"""``stress.json``: what was measured of one trained run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from lightning_dice.analysis.run import finite, section
from lightning_dice.foreign import RECORD, Unreadable
from lightning_dice.plain_data import read_json

NAME = "stress.json"
FORMAT = 1
COLUMNS = ("probe", "kind", "strength", "metric", "value", "se")
"""Of a measured value; ``kind``, ``strength`` and ``se`` are empty where they mean nothing."""


class Record(NamedTuple):
    """A run's measures.

    Attributes:
        settings: What they were measured with: ``examples``, ``seed``, ``checkpoint``, ``sha256``.
        data: The kind of data; empty where inputs could not be corrupted.
        examples: How many there were.
        measures: A row a value, with the columns ``COLUMNS``.
        omissions: What could not be measured, a sentence each.
        notes: What there is to know before the values are read.
    """

    settings: Mapping[str, Any]
    data: str
    examples: int
    measures: pd.DataFrame
    omissions: tuple[str, ...]
    notes: tuple[str, ...]


def read_record(folder: Path) -> Record | None:
    """What was measured of a run; ``None`` where there is nothing that can be read here.

    Args:
        folder: The run's. Its ``stress.json`` may be missing, broken, or of another format.
    """
    try:
        given = read_json(folder / NAME, RECORD)
    except (FileNotFoundError, Unreadable):
        return None
    if not isinstance(given, dict) or given.get("format") != FORMAT:
        return None
    rows = given.get("measures")
    if not isinstance(rows, list) or not all(map(_is_row, rows)):
        return None
    examples = finite(given.get("examples"))
    return Record(
        settings=section(given, "settings"),
        data=str(given.get("data") or ""),
        examples=int(examples or 0),
        measures=_table(rows),
        omissions=_texts(given.get("omissions")),
        notes=_texts(given.get("notes")),
    )


def _is_row(row: object) -> bool:
    return (
        isinstance(row, dict)
        and all(isinstance(row.get(name), str) for name in ("probe", "kind", "metric"))
        and finite(row.get("value")) is not None
        and all(
            row.get(name) is None or finite(row[name]) is not None for name in ("strength", "se")
        )
    )


def _table(rows: list[dict[str, Any]]) -> pd.DataFrame:
    table = pd.DataFrame([{name: row.get(name) for name in COLUMNS} for row in rows])
    table = table.reindex(columns=[*COLUMNS])
    numbers = ("strength", "value", "se")
    return table.assign(**{name: pd.to_numeric(table[name]) for name in numbers})


def _texts(given: object) -> tuple[str, ...]:
    return tuple(map(str, given)) if isinstance(given, list) else ()
