"""What was rolled on the way from one point of a path to the next."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from lightning_dice.records import RollRecord, read_rolls
from lightning_dice.rules import Outcome, SettingError


class Move(NamedTuple):
    """The rolls between a path's point and the one before it.

    Attributes:
        rolls: How many.
        mean_scale: Their mean scale, a discard counting as 0; ``None`` without any.
        last: Those of the last optimizer step among them: one, or one for each slot or mini-batch.
    """

    rolls: int
    mean_scale: float | None
    last: tuple[RollRecord, ...]

    @property
    def scale(self) -> float | None:
        """The mean scale of ``last``, a discard counting as 0; ``None`` for one that is one."""
        scales = [record.scale for record in self.last]
        if not scales or (len(scales) == 1 and scales[0] is None):
            return None
        return sum(scale or 0.0 for scale in scales) / len(scales)

    @property
    def outcome(self) -> Outcome | None:
        """What ``last`` came to; ``None`` without any.

        Several rolls with different outcomes are a failure where their mean scale is below 0, and
        otherwise a success.
        """
        outcomes = {record.outcome for record in self.last}
        if len(outcomes) < 2:
            return next(iter(outcomes), None)
        return Outcome.FAILURE if (self.scale or 0.0) < 0 else Outcome.SUCCESS


def moves_between(records: Iterable[RollRecord], steps: Sequence[int]) -> tuple[Move, ...]:
    """The rolls that led to each point.

    Args:
        records: Of one run, in order.
        steps: Optimizer steps made before each point, ascending. A roll of step ``t`` leads from
            point ``t`` to ``t + 1``.

    Returns:
        One a point; those from before the first one are its own.

    Example:
        >>> roll = RollRecord(0, 0, 0, 0, 17, 17, Outcome.SUCCESS, 0.85)
        >>> start, end = moves_between([roll, roll._replace(step=1, scale=0.95)], [0, 2])
        >>> start.rolls, end.rolls, end.last[0].scale
        (0, 2, 0.95)
    """
    moves = []
    by_step = ((step, list(rolls)) for step, rolls in groupby(records, lambda roll: roll.step))
    ahead = next(by_step, None)
    for point in steps:
        last: tuple[RollRecord, ...] = ()
        count, scales = 0, 0.0
        while ahead is not None and ahead[0] < point:
            last = tuple(ahead[1])
            count += len(last)
            scales += sum(roll.scale or 0.0 for roll in last)
            ahead = next(by_step, None)
        moves.append(Move(count, scales / count if count else None, last))
    return tuple(moves)


def read_moves(path: Path, steps: Sequence[int]) -> tuple[tuple[Move, ...], str | None]:
    """The rolls of a ``rolls.csv`` that led to each point.

    Args:
        path: The file.
        steps: As for ``moves_between``.

    Returns:
        Nothing but why, where they cannot be read.
    """
    try:
        return moves_between(read_rolls(path), steps), None
    except FileNotFoundError:
        return (), f"{path.name} is missing"
    except (SettingError, OSError, UnicodeError, csv.Error) as error:
        remedy = error.remedy if isinstance(error, SettingError) else str(error)
        return (), f"{path.name} cannot be read ({remedy})"
