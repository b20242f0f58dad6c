"""What a roll can come to, and the roll itself."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class Outcome(StrEnum):
    """The four outcomes of a saving throw, worst first.

    Example:
        >>> [str(outcome) for outcome in Outcome]
        ['critical_failure', 'failure', 'success', 'critical_success']
    """

    CRITICAL_FAILURE = "critical_failure"
    FAILURE = "failure"
    SUCCESS = "success"
    CRITICAL_SUCCESS = "critical_success"


class Roll(NamedTuple):
    """One resolved roll.

    Attributes:
        natural: The face that counts, before the modifier.
        total: ``natural`` plus the die's modifier.
        outcome: What the saving throw came to.
        scale: The dimensionless factor on the target, a gradient or an update: 1 is full,
            0 < scale < 1 partial, scale < 0 reversed. ``None`` is a discard: no update at all,
            which is not the same thing as scale 0 (a zero gradient still lets momentum and weight
            decay move weights).

    Example:
        >>> Roll(17, 17, Outcome.SUCCESS, 0.85).discard
        False
    """

    natural: int
    total: int
    outcome: Outcome
    scale: float | None

    @property
    def discard(self) -> bool:
        """Whether this roll leaves the update out altogether."""
        return self.scale is None
