"""The weights along a training as a file: a table of float16, and a note of what its rows are."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lightning_dice.foreign import RECORD, open_file
from lightning_dice.plain_data import read_json
from lightning_dice.rules import SettingError

TABLE, NOTE = "trajectory.npy", "trajectory.json"
FORMAT = 1
FEWEST = 3
"""Rows of the shortest trajectory that shows a path: its ends, and a point between them."""

Halves = npt.NDArray[np.float16]
Shapes = Sequence[Sequence[int]]


def first_of_each(steps: Sequence[int], every: int) -> list[int]:
    """Positions of the first step in each stretch of ``every`` steps.

    Args:
        steps: Ascending.
        every: How long a stretch is; the first one begins at step 0.

    Example:
        >>> first_of_each([0, 10, 20, 30, 35], 20)
        [0, 2]
    """
    stretches = [step // every for step in steps]
    return [i for i, now in enumerate(stretches) if i == 0 or now > stretches[i - 1]]


@dataclass(frozen=True, eq=False)
class Trajectory:
    """What was kept of the weights along a training.

    Attributes:
        steps: Optimizer steps made before each row, ascending.
        rows: Where in ``table`` each is.
        table: One point a row, ``(rows of the file, N)``, memory-mapped.
        names: The tensors' names, in the order in which they follow each other in a row.
        shapes: Their shapes.
        every: How many steps lie between two rows; fewer before the last.
        left_out: Steps whose weights were too large for float16, or not finite.
    """

    steps: tuple[int, ...]
    rows: tuple[int, ...]
    table: Halves
    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    every: int
    left_out: tuple[int, ...]

    @classmethod
    def read(cls, folder: Path) -> Trajectory:
        """Read the trajectory in ``folder``.

        Raises:
            SettingError: If there is none, or it cannot be read.
        """
        if not (folder / NOTE).is_file():
            remedy = "has no trajectory; train with trajectory=64, for example, to keep one"
            raise SettingError("run", str(folder), remedy)
        try:
            note = read_json(folder / NOTE, RECORD)
            if note["format"] != FORMAT:
                raise ValueError(f"its format is {note['format']!r}, and {FORMAT} is read here")
            open_file(folder / TABLE, sys.maxsize).close()  # refuses what is no file
            table = np.lib.format.open_memmap(folder / TABLE, mode="c")  # torch makes tensors of it
            return cls._of(note, table)
        except (OSError, ValueError, LookupError, TypeError, OverflowError, EOFError) as error:
            remedy = f"cannot be read ({' '.join(str(error).split())})"
            raise SettingError("trajectory", str(folder / NOTE), remedy) from error

    @classmethod
    def _of(cls, note: dict[str, Any], table: Halves) -> Trajectory:
        names = tuple(map(str, note["names"]))
        shapes = tuple(tuple(map(int, shape)) for shape in note["shapes"])
        pairs = [(int(step), int(row)) for step, row in zip(note["steps"], note["rows"])]  # noqa: B905
        width = sum(map(prod, shapes))
        if table.dtype != np.float16 or table.ndim != 2 or table.shape[1] != width:
            raise ValueError(f"{TABLE} is no table of {width} weights in float16")
        if len({row for _, row in pairs}) != len(pairs):
            raise ValueError("two of its steps are in one row")
        bad = {step for step, row in pairs if not np.isfinite(table[row]).all()}
        kept = [(step, row) for step, row in pairs if step not in bad]
        return cls(
            steps=tuple(step for step, _ in kept),
            rows=tuple(row for _, row in kept),
            table=table,
            names=names,
            shapes=shapes,
            every=int(note["every"]),
            left_out=tuple(sorted(bad)),
        )

    def __len__(self) -> int:
        return len(self.steps)

    def weights(self, index: int) -> npt.NDArray[np.float32]:
        """The weights ``(N,)`` at ``steps[index]``."""
        weights: npt.NDArray[np.float32] = self.table[self.rows[index]].astype(np.float32)
        return weights


class TrajectoryFile:
    """Writes a trajectory row by row; killed at any moment, what the note names can be read.

    Room for every row is taken at the start. Rows have no order in the table: where one is dropped
    its place is used again, once the note no longer names it.

    Args:
        folder: Where the two files are.
        rows: Most rows that are kept.
        names: The tensors' names.
        shapes: Their shapes.
    """

    def __init__(self, folder: Path, rows: int, names: Sequence[str], shapes: Shapes) -> None:
        self.folder = folder
        self.every = 1
        self.steps: list[int] = []
        self._rows: list[int] = []
        self._noted: tuple[int, list[int]] | None = None
        self._table = folder / TABLE
        self._most = rows
        self._layout = {"names": list(names), "shapes": [list(shape) for shape in shapes]}
        self._width = sum(map(prod, shapes))

    def create(self, every: int) -> None:
        """Begin a trajectory; one that is there is moved aside.

        Raises:
            SettingError: If there is no room for it.
        """
        self.every, self.steps, self._rows, self._noted = every, [], [], None
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._move_aside()
            shape = (self._most, self._width)
            np.lib.format.open_memmap(self._table, mode="w+", dtype=np.float16, shape=shape)
            if hasattr(os, "posix_fallocate"):
                # A full disk is refused now, not in the middle of a training.
                with self._table.open("r+b") as file:
                    os.posix_fallocate(file.fileno(), 0, self._table.stat().st_size)
        except OSError as error:
            raise self._unwritable(error) from error

    def reopen(self, step: int) -> bool:
        """Go on with the trajectory that is there, from optimizer step ``step``.

        What training makes again is dropped, and so is a last row between two others' distance.

        Returns:
            Whether there is one.

        Raises:
            SettingError: If it is of other weights, or cannot be read.
        """
        move = f"move {TABLE} and {NOTE} away to begin a new one, or give trajectory=0"
        if not (self.folder / NOTE).is_file():
            return False
        try:
            note = read_json(self.folder / NOTE, RECORD)
            layout = {name: note[name] for name in self._layout}
            self.every, self._most = int(note["every"]), int(note["shape"][0])
            earlier = [(s, r) for s, r in zip(note["steps"], note["rows"]) if s <= step]  # noqa: B905
        except (OSError, ValueError, LookupError, TypeError, OverflowError, EOFError) as error:
            remedy = f"cannot be read ({error}); {move}"
            raise SettingError("trajectory", str(self.folder / NOTE), remedy) from error
        if layout != self._layout:
            raise SettingError(
                "trajectory", str(self.folder / NOTE), f"is of other weights; {move}"
            )
        kept = first_of_each([s for s, _ in earlier], self.every)
        self.steps = [earlier[i][0] for i in kept]
        self._rows = [earlier[i][1] for i in kept]
        self.write_note()
        return True

    @property
    def full(self) -> bool:
        """Whether there is no room for another row."""
        return len(self.steps) == self._most

    def thin(self) -> None:
        """Double ``every``, and drop the rows that lie closer, until there is room for one."""
        while self.full:
            self.every *= 2
            kept = first_of_each(self.steps, self.every)
            self.steps = [self.steps[i] for i in kept]
            self._rows = [self._rows[i] for i in kept]
        self.write_note()

    def add(self, step: int, weights: Halves) -> None:
        """Keep the weights ``(N,)`` after ``step`` optimizer steps; there must be room."""
        row = min(set(range(self._most)) - set(self._rows))
        try:
            with self._table.open("r+b") as file:
                file.seek((row - self._most) * self._width * weights.itemsize, os.SEEK_END)
                file.write(weights.data)
        except OSError as error:
            raise self._unwritable(error) from error
        self.steps.append(step)
        self._rows.append(row)

    def write_note(self) -> None:
        """Name the rows that there are, in one piece; nothing is written that is there already."""
        if self._noted == (self.every, self.steps):
            return
        note = {
            "format": FORMAT,
            "dtype": "float16",
            "shape": [self._most, self._width],
            "every": self.every,
            "steps": self.steps,
            "rows": self._rows,
            **self._layout,
        }
        draft = self.folder / f"{NOTE}.part"
        try:
            draft.write_text(json.dumps(note) + "\n", encoding="utf-8")
            draft.replace(self.folder / NOTE)
            self._noted = (self.every, list(self.steps))
        except OSError as error:
            raise self._unwritable(error) from error

    def _move_aside(self) -> None:
        if not (self.folder / NOTE).exists():
            return
        taken = (n for n in range(1, 10**6) if not (self.folder / f"trajectory.{n}.json").exists())
        number = next(taken)
        for name in (NOTE, TABLE):  # the note first: without it a table is nothing
            path = self.folder / name
            if path.exists():
                path.rename(path.with_name(f"trajectory.{number}{path.suffix}"))

    def _unwritable(self, error: OSError) -> SettingError:
        megabytes = self._most * self._width * 2 / 1e6
        remedy = (
            f"{TABLE} of {megabytes:.0f} MB cannot be written there ({error.strerror}); make room, "
            "or give trajectory=0"
        )
        return SettingError("folder", str(self.folder), remedy)
