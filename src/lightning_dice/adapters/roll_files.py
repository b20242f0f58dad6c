"""The files that a loop's dice leave, and which dice write them."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Hashable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from lightning_dice.described import describe_dice
from lightning_dice.records import RollLog
from lightning_dice.rules import SavingThrow, SettingError
from lightning_dice.scope import NameSource
from lightning_dice.training_files import TrainingFiles

_claims = threading.Lock()
_writers: weakref.WeakValueDictionary[Path, RollFiles] = weakref.WeakValueDictionary()
"""Who writes which file."""


class RollFiles:
    """The files of a training in a loop, which has them from its first roll on.

    Dice that begin take the files over from those that wrote them before, however alive these are:
    a notebook keeps what a cell made that failed. What those rolled is written first, and is moved
    aside or continued as rolls of an earlier process are. If they are stepped again, two trainings
    share a file, and that is an error.

    Args:
        rolls: The rolls of the training.
        folder: Where files are written; ``None`` writes none.
        ordinal: Which of several saving throws this is.
        several: Whether a step has several rolls.
    """

    def __init__(self, rolls: RollLog, folder: Path | None, ordinal: int, several: bool) -> None:
        self._rolls = rolls
        self._folder = folder
        self._ordinal = ordinal
        self._several = several
        self._about: tuple[SavingThrow, Mapping[str, Any], Mapping[str, Any]] | None = None
        self._files: TrainingFiles | None = None
        self._taken = False

    def about(
        self, throw: SavingThrow, settings: Mapping[str, Any], facts: Mapping[str, Any]
    ) -> None:
        """Note what the dice are, for the description of the training.

        Args:
            throw: The saving throw.
            settings: Everything that decides the rolls and what they do.
            facts: What else there is to know, as plain values.
        """
        self._about = throw, settings, facts

    def begin(self, next_batch: int, next_step: int) -> bool:
        """Write from here on, unless that is done already.

        It is left for the first roll, as only then is it known where training continues.

        Args:
            next_batch: The mini-batch that training continues with.
            next_step: The optimizer step that it continues with.

        Returns:
            Whether it began now.

        Raises:
            SettingError: If the folder cannot be written, or if other dice have taken the files.
        """
        if self._taken:
            raise SettingError(
                "folder",
                str(self._folder),
                "other dice write their rolls there by now; where both train at once, attach one "
                "of them with ordinal=1 or a folder of its own",
            )
        if self._files is not None or self._folder is None:
            return False
        files = TrainingFiles(self._folder, self._ordinal, self._several, self._rolls)
        with _claims:
            before = _writers.get(files.rolls_path)
            if before is not None and before is not self:
                before._give_up()
            files.open(next_batch, next_step)
            _writers[files.rolls_path] = self
        self._files = files
        self.describe("running")
        return True

    def again(self) -> None:
        """Begin anew with the next roll."""
        self._files, self._taken = None, False

    def write(self, tables: Iterable[Mapping[int, Iterable[Hashable]]], names: NameSource) -> None:
        """Write what is pending; the arguments are those of ``SlotFile.write``."""
        if self._files is not None:
            self._files.write(tables, names)

    def describe(self, status: str, error: BaseException | None = None) -> None:
        """Write ``saving_throw.json``; the arguments are those of ``TrainingFiles.describe``."""
        files = self._files  # which other dice may take at any time, in another thread
        if files is None or self._about is None:
            return
        throw, settings, facts = self._about
        newest = self._rolls.recent[-1] if self._rolls.recent else None
        progress = {
            "seed": settings["seed"],
            "steps": self._rolls.since if newest is None else newest.step + 1,
        }
        description = {**facts, **progress, **describe_dice(throw, settings, self._rolls)}
        files.describe(status, description, error)

    def leave(self) -> None:
        """Let go of the files, after ``write``."""
        if self._files is not None and _writers.get(self._files.rolls_path) is self:
            del _writers[self._files.rolls_path]
        self._files = None

    def end(self) -> None:
        """Close the files of a loop that has ended without a word, or by an error."""
        with suppress(SettingError):  # nobody is there to be told
            self._rolls.close()
            self.describe("ended")

    def _give_up(self) -> None:
        with suppress(SettingError):  # whoever begins meets the same, and is told
            self._rolls.flush()
        self._files, self._taken = None, True
        self._rolls.abandon()
