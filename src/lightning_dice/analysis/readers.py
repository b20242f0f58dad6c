"""Reads the tables of a run as arrays, as far as they can be read.

A reader never fails on a file that a crash cut short: it returns what is whole, and one sentence
for each thing that it had to leave out.
"""

from __future__ import annotations

import csv
import math
from array import array
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from lightning_dice.analysis.phrases import counted
from lightning_dice.foreign import TABLE, Unreadable, open_file, read_lines
from lightning_dice.records import RollRecord, read_rolls
from lightning_dice.rules import Outcome, SettingError

OUTCOMES = tuple(Outcome)
"""The outcomes, worst first; ``Rolls.outcome`` holds positions in it."""

LARGEST = 1e150
"""Largest value of a metric that is not counted as infinite."""

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

Place = tuple[int, int]
"""What one roll was for at a step: the optimizer's index and the slot."""


@dataclass(frozen=True, eq=False)
class Rolls:
    """The rolls of a run, column by column.

    Attributes:
        step: Optimizer steps completed before each roll's own, shape ``(rolls,)``.
        outcome: Position in ``OUTCOMES``, shape ``(rolls,)``.
        scale: The factor, NaN for a discard, shape ``(rolls,)``.
        place: Position in ``places``, shape ``(rolls,)``.
        places: The optimizers and slots that were rolled for, ascending.

    Example:
        >>> record = RollRecord(0, 0, 0, 0, 17, 17, Outcome.SUCCESS, 0.85)
        >>> rolls = Rolls.of([record, record._replace(step=1, scale=None)])
        >>> len(rolls), rolls.mean_scale, rolls.kinds()["discard"]
        (2, 0.425, 1)
    """

    step: Ints
    outcome: Ints
    scale: Floats
    place: Ints
    places: tuple[Place, ...]

    @classmethod
    def of(cls, records: Iterable[RollRecord]) -> Rolls:
        """Gather records; see ``read_roll_table`` for a file."""
        columns = _Columns()
        for record in records:
            columns.add(record)
        return columns.rolls()

    def __len__(self) -> int:
        return len(self.step)

    def since(self, step: int) -> Rolls:
        """The rolls from optimizer step ``step`` on."""
        kept = self.step >= step
        there, place = np.unique(self.place[kept], return_inverse=True)
        return replace(
            self,
            step=self.step[kept],
            outcome=self.outcome[kept],
            scale=self.scale[kept],
            place=place,
            places=tuple(self.places[index] for index in there),
        )

    @property
    def several(self) -> bool:
        """Whether a step may have several rolls: some optimizer has more slots than one."""
        return len({optimizer for optimizer, _slot in self.places}) < len(self.places)

    @property
    def factors(self) -> Floats:
        """The scales with 0 for a discard, as means count them."""
        return np.nan_to_num(self.scale, nan=0.0)

    @property
    def mean_scale(self) -> float | None:
        """Mean scale, a discard counting as 0; ``None`` without rolls."""
        return float(self.factors.mean()) if len(self) else None

    def place_means(self) -> tuple[Ints, Floats]:
        """How many rolls each place has, and their mean scale; both ``(places,)``."""
        counts = np.bincount(self.place, minlength=len(self.places))
        return counts, np.bincount(self.place, self.factors, len(self.places)) / counts

    def step_means(self) -> tuple[Ints, Floats]:
        """The steps that have rolls, ascending, and the mean scale of each; both ``(steps,)``."""
        steps, which = np.unique(self.step, return_inverse=True)
        return steps, np.bincount(which, self.factors) / np.bincount(which)

    def counts(self) -> dict[Outcome, int]:
        """How many rolls came to each outcome."""
        counts = np.bincount(self.outcome, minlength=len(OUTCOMES))
        return {outcome: int(n) for outcome, n in zip(OUTCOMES, counts, strict=True)}

    def kinds(self) -> dict[str, int]:
        """How many rolls were of each kind of scale; the kinds exclude each other.

        Returns:
            ``discard``, ``inverse`` (below 0), ``zero``, ``partial`` (0 to 1), ``unchanged`` (1)
            and ``amplified`` (above 1), in this order.
        """
        s = self.scale
        kinds = {
            "discard": np.isnan(s),
            "inverse": s < 0,
            "zero": s == 0,
            "partial": (s > 0) & (s < 1),
            "unchanged": s == 1,
            "amplified": s > 1,
        }
        return {kind: int(np.count_nonzero(mask)) for kind, mask in kinds.items()}


class _Columns:
    """Grows column by column: some bytes a cell, where a list of records takes hundreds."""

    def __init__(self) -> None:
        self.step, self.scale = array("q"), array("d")
        self.outcome, self.place = array("b"), array("i")
        self._position = {outcome: i for i, outcome in enumerate(OUTCOMES)}
        self._places: dict[Place, int] = {}  # in order of appearance

    def add(self, record: RollRecord) -> None:
        if record.scale is not None and not math.isfinite(record.scale):
            raise SettingError("scale", record.scale, f"the roll of step {record.step} is no roll")
        self.step.append(record.step)  # first, as it is what can be too large for its column
        self.scale.append(math.nan if record.scale is None else record.scale)
        self.outcome.append(self._position[record.outcome])
        place = record.optimizer, record.slot
        self.place.append(self._places.setdefault(place, len(self._places)))

    def rolls(self) -> Rolls:
        places = sorted(self._places)
        rank = np.zeros(len(places), dtype=np.int64)
        rank[[self._places[place] for place in places]] = range(len(places))
        return Rolls(
            np.array(self.step, dtype=np.int64),
            np.array(self.outcome, dtype=np.int64),
            np.array(self.scale, dtype=np.float64),
            rank[np.array(self.place, dtype=np.int64)],
            tuple(places),
        )


class Series(NamedTuple):
    """One metric over the run: ``step`` ascending, ``value`` beside it, both ``(points,)``."""

    step: Ints
    value: Floats

    @property
    def finite(self) -> Series:
        """The points that can be drawn."""
        keep = np.isfinite(self.value)
        return Series(self.step[keep], self.value[keep])


def bounded(value: float) -> float:
    """Return a value, or infinity if its square is too large for a float.

    Means, deviations and pictures of such values would overflow.

    Example:
        >>> bounded(-2.5), bounded(-1e200)
        (-2.5, -inf)
    """
    return math.copysign(math.inf, value) if abs(value) > LARGEST else value


def read_roll_table(path: Path) -> tuple[Rolls, list[str]]:
    """Read ``rolls.csv``.

    Args:
        path: The file; it may be missing, empty or cut short.

    Returns:
        The rolls up to the first one that cannot be read, and what was left out.
    """
    columns, omissions = _Columns(), _cut_short(path)
    try:
        for record in read_rolls(path):
            columns.add(record)
    except FileNotFoundError:
        return columns.rolls(), [f"{path.name} is missing"]
    except SettingError as error:
        omissions = [f"{path.name} can be read up to roll {len(columns.step)} ({error.remedy})"]
    except (OSError, OverflowError) as error:
        omissions = [f"{path.name} can be read up to roll {len(columns.step)} ({error})"]
    if not columns.step and not omissions:
        omissions = [f"{path.name} holds no rolls"]
    return columns.rolls(), omissions


def read_slots(path: Path) -> tuple[dict[Place, list[str]], list[str]]:
    """Read ``slots.csv``.

    Args:
        path: The file; it may be missing, empty or cut short.

    Returns:
        The names of each place's parameters, and what was left out.
    """
    names: defaultdict[Place, list[str]] = defaultdict(list)
    omissions, unread = _cut_short(path), 0
    try:
        for row in csv.DictReader(read_lines(path)):
            try:
                place = np.int64(int(row["optimizer"])), np.int64(int(row["slot"]))
                names[int(place[0]), int(place[1])].append(row["parameter"] or "")
            except (KeyError, TypeError, ValueError, OverflowError):
                unread += 1
    except FileNotFoundError:
        return {}, [f"{path.name} is missing"]
    except (Unreadable, csv.Error) as error:
        omissions = [f"{path.name} cannot be read to its end ({error})"]
    if unread:
        omissions.append(f"{path.name} has {counted(unread, 'row')} that cannot be read")
    if not names and not omissions:
        omissions = [f"{path.name} holds no slots"]
    return dict(names), omissions


def read_metrics(path: Path) -> tuple[dict[str, Series], list[str]]:
    """Read the ``metrics.csv`` of Lightning's ``CSVLogger``.

    Args:
        path: The file; it may be missing, empty or cut short.

    Returns:
        Each metric's points by its column's name, and what was left out.
    """
    points: defaultdict[str, list[tuple[int, float]]] = defaultdict(list)
    omissions, unread = _cut_short(path), 0
    try:
        rows = csv.reader(read_lines(path))
        header = next(rows, [])
        for row in rows:
            unread += _add_row(points, dict(zip(header, row, strict=False)))
    except FileNotFoundError:
        return {}, [f"{path.name} is missing"]
    except (Unreadable, csv.Error) as error:
        omissions = [f"{path.name} cannot be read to its end ({error})"]
    if unread:
        omissions.append(f"{path.name} has {counted(unread, 'cell')} that cannot be read")
    if not points and not omissions:
        omissions = [f"{path.name} holds no metrics"]
    return {name: _series(pairs) for name, pairs in points.items()}, omissions


def _add_row(points: dict[str, list[tuple[int, float]]], row: dict[str, str]) -> int:
    """Add the row's metrics; returns how many cells could not be read."""
    cells = {name: text for name, text in row.items() if text and name not in ("epoch", "step")}
    try:
        step = int(np.int64(int(float(row.get("step", "")))))
    except (ValueError, OverflowError):
        return len(cells)
    unread = 0
    for name, text in cells.items():
        try:
            value = bounded(float(text))
        except ValueError:
            unread += 1
        else:
            points[name].append((step, value))
    return unread


def _series(pairs: list[tuple[int, float]]) -> Series:
    # A resumed run may log a step again; sorting is stable, so the later value stays the later.
    pairs.sort(key=lambda pair: pair[0])
    step, value = zip(*pairs, strict=True)
    return Series(np.array(step, dtype=np.int64), np.array(value, dtype=np.float64))


def _cut_short(path: Path) -> list[str]:
    try:
        with open_file(path, TABLE) as file:
            if file.seek(0, 2) == 0:
                return [f"{path.name} is empty"]
            file.seek(-1, 2)
            whole = file.read(1) == b"\n"
    except (OSError, Unreadable):
        return []  # whoever reads the file next says so
    return [] if whole else [f"{path.name} is cut short; its last line is left out"]
