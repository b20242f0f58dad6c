"""What was rolled: records, tallies, and the append-only file ``rolls.csv``."""

from __future__ import annotations

import csv
import io
import math
import os
import zlib
from collections import deque
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from lightning_dice.foreign import Unreadable, read_lines
from lightning_dice.rules import Outcome, Roll, SettingError
from lightning_dice.rules.checking import in_order
from lightning_dice.states import entries, read_counts, read_number

HISTORY = 1000
"""Records kept in memory; the file keeps them all."""
PENDING = 2048
"""Records held back before they are written: opening a file costs more than a training step."""
_MOVE = "move the file away to go on in a new one"
_MOVE_BOTH = "move it and the saving_throw.json beside it away to go on in new files"


class RollRecord(NamedTuple):
    """One roll and what it belonged to; a row of ``rolls.csv``.

    Attributes:
        step: Optimizer steps completed before the one that this roll took part in.
        batch: Mini-batches completed before the one during which it was rolled.
        optimizer: Index of the optimizer that steps.
        slot: Index of the part of the model that it was rolled for; 0 with scope ``model``.
        natural: The face that counts.
        total: The face plus the modifier.
        outcome: What the saving throw came to.
        scale: The factor; ``None`` (an empty cell) is a discard.
    """

    step: int
    batch: int
    optimizer: int
    slot: int
    natural: int
    total: int
    outcome: Outcome
    scale: float | None

    @property
    def roll(self) -> Roll:
        """The roll alone."""
        return Roll(self.natural, self.total, self.outcome, self.scale)


def read_rolls(path: Path) -> Iterator[RollRecord]:
    """The records of a ``rolls.csv``, in order; a last line cut short by a crash is left out.

    Args:
        path: The file.

    Raises:
        SettingError: If the file has other columns or a row that cannot be read.
    """
    rows = csv.reader(read_lines(path))
    header = next(_rows(rows, path), None)
    if header is not None and tuple(header) != RollRecord._fields:
        raise SettingError("rolls", str(path), f"expected columns {','.join(RollRecord._fields)}")
    for row in _rows(rows, path):
        try:
            *numbers, outcome, scale = row
            step, batch, optimizer, slot, natural, total = map(int, numbers)
            factor = float(scale) if scale else None
            record = RollRecord(
                step, batch, optimizer, slot, natural, total, Outcome(outcome), factor
            )
            if factor is not None and not math.isfinite(factor):
                raise ValueError("a scale is a finite number")
        except ValueError as error:
            where = f"line {rows.line_num} is not a roll: {','.join(row)}"
            raise SettingError("rolls", str(path), where) from error
        yield record


def _rows(rows: Iterator[list[str]], path: Path) -> Iterator[list[str]]:
    try:
        yield from rows
    except csv.Error as error:
        raise SettingError("rolls", str(path), f"is no table of rolls: {error}") from error
    except Unreadable as error:
        raise SettingError("rolls", str(path), str(error)) from error


def _whole_lines(lines: Iterator[str]) -> Iterator[str]:
    return (line for line in lines if line.endswith("\n"))


class Tally:
    """Running counts of outcomes and the sum of scales.

    Example:
        >>> tally = Tally()
        >>> tally.add(Roll(17, 17, Outcome.SUCCESS, 0.85))
        >>> tally.add(Roll(1, 1, Outcome.CRITICAL_FAILURE, None))
        >>> tally.rolls, tally.mean_scale
        (2, 0.425)
    """

    def __init__(self) -> None:
        self.counts: dict[Outcome, int] = dict.fromkeys(Outcome, 0)
        self.scale_sum = 0.0

    def add(self, roll: Roll) -> None:
        """Count one roll."""
        self.counts[roll.outcome] += 1
        self.scale_sum += roll.scale or 0.0

    @property
    def rolls(self) -> int:
        """How many rolls were counted."""
        return sum(self.counts.values())

    @property
    def mean_scale(self) -> float | None:
        """Mean scale so far, a discard counting as 0; ``None`` before the first roll."""
        return self.scale_sum / self.rolls if self.rolls else None


class Extent(NamedTuple):
    """How much of a file belongs to a training state, and what it says.

    Attributes:
        rows: How many rows, without the header.
        checksum: CRC-32 of their text.
    """

    rows: int = 0
    checksum: int = 0

    def and_then(self, text: str) -> Extent:
        """Return the extent with more rows, given as they are in the file."""
        return Extent(self.rows + text.count("\n"), zlib.crc32(text.encode(), self.checksum))


class RollLog:
    """Keeps rolls: tallies, a bounded history, and a file where there is a folder for one.

    Memory does not grow with the run. The file is only ever appended to; ``open`` makes it say
    what the training state says before anything is added. That state knows how many rows the file
    had, and their checksum, so that a file that lost or gained rows is not gone on with.

    Args:
        history: Records kept in memory.

    Example:
        >>> log = RollLog()
        >>> log.append(RollRecord(0, 0, 0, 0, 17, 17, Outcome.SUCCESS, 0.85))
        >>> log.recent[-1].roll.scale
        0.85
    """

    def __init__(self, history: int = HISTORY) -> None:
        self.recent: deque[RollRecord] = deque(maxlen=history)
        self.path: Path | None = None
        self._pending: list[RollRecord] = []
        self.tally = Tally()
        self.since = 0
        self._written = Extent()
        self.expected: Extent | None = None
        """What the file comes to that the next ``open`` goes on with, where a state says it."""

    def __getstate__(self) -> dict[str, Any]:
        # A copy counts on by itself; two that append to one file would mix their rows.
        return {**vars(self), "path": None, "_pending": []}

    def reset(self, since: int = 0) -> None:
        """Forget what was rolled; a file keeps what it has.

        Args:
            since: Optimizer steps completed before those that the tally is to count.
        """
        self.flush()
        self.recent.clear()
        self.tally = Tally()
        self.since = since

    def append(self, record: RollRecord) -> None:
        """Keep one record; it reaches the file with the next flush at the latest."""
        self.recent.append(record)
        self.tally.add(record.roll)
        if self.path is not None:
            self._pending.append(record)
            if len(self._pending) >= PENDING:
                self.flush()

    def open(self, path: Path, next_batch: int, next_step: int = 0) -> None:
        """Write to ``path`` from mini-batch ``next_batch`` on.

        A resumed run rolls again what came after its checkpoint, so those rows are dropped. A run
        that starts at 0 where an earlier run left its rolls moves them aside: nothing is lost.

        Args:
            path: The file, made with its folder when it is not there.
            next_batch: The mini-batch that training goes on with.
            next_step: The optimizer step that it goes on with.

        Raises:
            SettingError: If the folder cannot be written, or if rolls from before ``next_batch``
                are missing in the file, so that to go on would leave a gap.
        """
        try:
            self.flush()
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.exists() and next_batch == 0:
                path.rename(_free_name(path))
            kept = self._kept(path, next_batch, next_step)
            # Replaced in one piece: a crash leaves the old file or the new one.
            draft = path.with_name(path.name + ".part")
            try:
                written = Extent()
                with draft.open("w", newline="", encoding="utf-8") as file:
                    _write_rows(file, [RollRecord._fields])
                    for line in kept:
                        file.write(line)
                        written = written.and_then(line)
                draft.replace(path)
            finally:
                draft.unlink(missing_ok=True)
        except OSError as error:
            raise unwritable(path, error) from error
        self.path, self._written, self.expected = path, written, None

    def _kept(self, path: Path, next_batch: int, next_step: int) -> Iterator[str]:
        """The lines of ``path`` that training goes on after."""
        if not path.exists():
            return iter(())
        if self.expected is not None:
            return rows_of(path, self.expected, _MOVE_BOTH)
        rolls = _rolls_before(path, next_batch, next_step, self.tally.rolls)
        return (_text([roll]) for roll in rolls)

    def flush(self) -> None:
        """Write what is pending.

        Raises:
            SettingError: If it cannot be written; the file is left as it was, and what is pending
                goes with the next flush.
        """
        if self.path is None or not self._pending:
            return
        try:
            size = self.path.stat().st_size
            try:
                with self.path.open("a", newline="", encoding="utf-8") as file:
                    _write_rows(file, self._pending)
                self._written = self._extent()
            except OSError:
                os.truncate(self.path, size)  # a full disk takes half a row
                raise
        except OSError as error:
            raise unwritable(self.path, error) from error
        self._pending.clear()

    def close(self) -> None:
        """Write what is pending and let go of the file."""
        self.flush()
        self.path = None

    def abandon(self) -> None:
        """Let go of the file without writing what is pending, as others write it now."""
        self._pending.clear()
        self.path = None

    def _extent(self) -> Extent:
        """What the file comes to with what is pending."""
        return self._written.and_then(_text(self._pending))

    def state_dict(self) -> dict[str, Any]:
        """The tallies, and what the file comes to, as plain values."""
        return {
            "counts": {str(outcome): n for outcome, n in self.tally.counts.items()},
            "scale_sum": self.tally.scale_sum,
            "since": self.since,
            "file": list(self._extent()),
        }

    def load_state_dict(self, state: Mapping[str, Any], counts: bool = True) -> None:
        """Go on from ``state_dict``.

        Args:
            state: What it returned.
            counts: Whether its tallies are gone on with, beside its file.

        Raises:
            SettingError: If it has none.
        """
        self.expected = file_of(state)
        if counts:
            self.tally.counts, self.tally.scale_sum, self.since = read_counts(state)


class SlotFile:
    """Which parameters each slot of ``rolls.csv`` stands for, one a row.

    Args:
        path: The file; what it had is replaced.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._rows: list[tuple[int, int, str]] = []

    def write(
        self,
        tables: Iterable[Mapping[int, Iterable[Hashable]]],
        names: Mapping[Any, Sequence[str]],
    ) -> None:
        """Write the file if slots have changed, as parameters may join while training runs.

        Args:
            tables: For each optimizer its parameters by slot.
            names: The names of parameters, of which the first is written; a parameter that has
                none there has an empty cell.

        Raises:
            SettingError: If it cannot be written.
        """
        rows = [
            (optimizer, slot, names.get(parameter, [""])[0])
            for optimizer, slots in enumerate(tables)
            for slot, parameters in slots.items()
            for parameter in parameters
        ]
        if rows == self._rows:
            return
        try:
            with self.path.open("w", newline="", encoding="utf-8") as file:
                _write_rows(file, [("optimizer", "slot", "parameter"), *rows])
        except OSError as error:
            raise unwritable(self.path, error) from error
        self._rows = rows


def file_of(state: Mapping[str, Any]) -> Extent | None:
    """Return what the file of rolls came to at the time of a state; ``None`` if it says nothing.

    Raises:
        SettingError: If what it says is no such thing.
    """
    known = entries(state).get("file")
    if known is None:
        return None
    allowed = "expected how many rolls it has, and their CRC-32"
    numbers = in_order("state.file", known, allowed)
    if len(numbers) != len(Extent._fields):
        raise SettingError("state.file", known, allowed)
    return Extent(*(read_number(number, "state.file") for number in numbers))


def rows_of(path: Path, extent: Extent, otherwise: str) -> Iterator[str]:
    """The rows of a ``rolls.csv`` as text, one at a time, as there may be millions.

    Args:
        path: The file.
        extent: How many of them, and their checksum.
        otherwise: What to do without the file, for the error.

    Raises:
        SettingError: At the end, if they are others.
    """
    found = Extent()
    with path.open(newline="", encoding="utf-8", errors="replace") as file:
        lines = _whole_lines(file)
        header = next(lines, "")
        if header != _text([RollRecord._fields]):
            columns = ",".join(RollRecord._fields)
            raise SettingError("rolls", str(path), f"expected columns {columns}; {otherwise}")
        for line in islice(lines, extent.rows):
            found = found.and_then(line)
            yield line
    if found != extent:
        few = f"has {found.rows} rolls of the {extent.rows}"
        other = f"has other rolls among the {extent.rows}"
        what = few if found.rows < extent.rows else other
        remedy = f"{what} that the checkpoint was made after: rows are missing, added or changed"
        raise SettingError("rolls", str(path), f"{remedy}; restore the file, or {otherwise}")


def _text(rows: Iterable[Any]) -> str:
    text = io.StringIO()
    _write_rows(text, rows)
    return text.getvalue()


def _write_rows(file: Any, rows: Iterable[Any]) -> None:
    csv.writer(file, lineterminator="\n").writerows(rows)


def _rolls_before(path: Path, batch: int, step: int, counted: int) -> Iterator[RollRecord]:
    """One at a time, as there may be millions; refuses at the end if the last ones are missing.

    Not every step has a roll, where an optimizer is not rolled for: then ``counted`` are enough.
    """
    last_step, last_batch, kept = -1, -1, 0
    try:
        for record in read_rolls(path):
            if record.batch < batch:
                last_step, last_batch, kept = record.step, record.batch, kept + 1
                yield record
    except SettingError as error:
        raise SettingError("rolls", str(path), f"{error.remedy}; {_MOVE}") from error
    whole = 0 < counted <= kept
    if last_step < step - 1 and last_batch < batch - 1 and not whole:
        gap = f"ends at step {last_step}, and training goes on with step {step}"
        raise SettingError("rolls", str(path), f"{gap}; {_MOVE}")


def unwritable(path: Path, error: OSError) -> SettingError:
    """Return the error for a file that the system does not let us write."""
    remedy = f"{path.name} cannot be written there ({error.strerror}); make room or choose another"
    return SettingError("folder", str(path.parent), remedy)


def _free_name(path: Path) -> Path:
    names = (path.with_name(f"{path.stem}.{n}{path.suffix}") for n in range(1, 10**6))
    return next(name for name in names if not name.exists())
