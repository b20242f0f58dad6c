"""The files that a loop's rolls are written to, and which dice write them."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Hashable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from lightning_dice.records import RollLog, SlotFile
from lightning_dice.rules import SettingError
from lightning_dice.scope import NameSource

_claims = threading.Lock()
_writers: weakref.WeakValueDictionary[Path, RollFiles] = weakref.WeakValueDictionary()
"""Who writes which file."""


class RollFiles:
    """``rolls.csv``, and ``slots.csv`` where a step has several rolls, of one training.

    Dice that begin take the files over from those that wrote them before, however alive these are:
    a notebook keeps what a cell made that failed. What those rolled is written first, and is moved
    aside or continued as rolls of an earlier process are. If they are stepped again, two trainings
    share a file, and that is an error.

    Args:
        rolls: What is rolled.
        folder: Where files are written; ``None`` writes none.
        ordinal: Which of several saving throws this is.
        several: Whether a step has several rolls.
    """

    def __init__(self, rolls: RollLog, folder: Path | None, ordinal: int, several: bool) -> None:
        self._rolls = rolls
        self._folder = folder
        self._stem = "" if ordinal == 0 else f"-{ordinal + 1}"
        self._several = several
        self._slots: SlotFile | None = None
        self._begun = False
        self._taken = False

    @property
    def _path(self) -> Path:
        assert self._folder is not None, "nothing is written without a folder"
        return (self._folder / f"rolls{self._stem}.csv").absolute()

    def begin(self, next_batch: int, next_step: int) -> bool:
        """Write from here on, unless that is done already.

        It is left for the first roll, as only then is it known where training goes on.

        Args:
            next_batch: The mini-batch that training goes on with.
            next_step: The optimizer step that it goes on with.

        Returns:
            Whether it began now.

        Raises:
            SettingError: If the folder cannot be written, or if other dice have taken the file.
        """
        if self._taken:
            assert self._folder is not None, "a file that was taken has a folder"
            raise SettingError(
                "folder",
                str(self._folder),
                f"other dice write {self._path.name} there by now; where both train at once, "
                "attach one of them with ordinal=1 or a folder of its own",
            )
        if self._begun or self._folder is None:
            return False
        with _claims:
            before = _writers.get(self._path)
            if before is not None and before is not self:
                before._give_up()
            self._rolls.open(self._path, next_batch, next_step)
            _writers[self._path] = self
        if self._several:
            self._slots = SlotFile(self._folder / f"slots{self._stem}.csv")
        self._begun = True
        return True

    def again(self) -> None:
        """Begin anew with the next roll."""
        self._begun = self._taken = False

    def write(self, tables: Iterable[Mapping[int, Iterable[Hashable]]], names: NameSource) -> None:
        """Write what is pending; the arguments are those of ``SlotFile.write``."""
        self._rolls.flush()
        if self._slots is not None:
            self._slots.write(tables, names())

    def leave(self) -> None:
        """Let go of the files, after ``write``."""
        self._slots = None
        if self._folder is not None and _writers.get(self._path) is self:
            del _writers[self._path]

    def _give_up(self) -> None:
        self._taken, self._slots = True, None
        with suppress(SettingError):  # whoever begins meets the same, and is told
            self._rolls.flush()
        self._rolls.abandon()
