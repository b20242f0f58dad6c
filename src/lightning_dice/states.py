"""What a checkpoint keeps of dice, read as what somebody else may have written or damaged."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from lightning_dice.rules import Outcome, SettingError
from lightning_dice.rules.checking import as_text, finite_number, whole_number
from lightning_dice.rules.errors import tried

_EXPECTED = "expected what state_dict() of dice gave"


class Counts(NamedTuple):
    """Tallies of rolls in a state.

    Attributes:
        outcomes: The count of each outcome.
        scale_sum: The sum of all scales.
        since: Optimizer steps completed before the rolls that are counted.
    """

    outcomes: dict[Outcome, int]
    scale_sum: float
    since: int


def entries(state: object, *needed: str, where: str = "state") -> dict[str, Any]:
    """Return a state as a dictionary by name.

    Args:
        state: The state.
        *needed: Names that it must have.
        where: What the error calls it.

    Raises:
        SettingError: If it is not a dictionary by name, or lacks one that is needed.

    Example:
        >>> entries({"step": 3}, "step")
        {'step': 3}
    """
    found: dict[Any, Any] | None = tried(dict, state) if isinstance(state, Mapping) else None
    if found is None or not all(type(as_text(name)) is str for name in found):
        raise SettingError(where, state, _EXPECTED)
    missing = [name for name in needed if name not in found]
    if missing:
        raise SettingError(where, list(found), f"{_EXPECTED}, with an entry {missing[0]!r}")
    return found


def read_counts(state: object) -> Counts:
    """Return the tallies in a state.

    Raises:
        SettingError: If they are missing, or are no tallies.
    """
    given = entries(state, "counts", "scale_sum", "since")
    counts = entries(given["counts"], *map(str, Outcome), where="state.counts")
    return Counts(
        {one: read_number(counts[str(one)], f"state.counts.{one}") for one in Outcome},
        finite_number("state.scale_sum", given["scale_sum"], _EXPECTED, largest=math.inf),
        read_number(given["since"], "state.since"),
    )


def read_number(value: object, where: str) -> int:
    """Return a count in a state.

    Raises:
        SettingError: If it is not a whole number from 0 to 2^63 - 1.
    """
    return whole_number(where, value, "expected a whole number, 0 or more", 0, 2**63 - 1)
