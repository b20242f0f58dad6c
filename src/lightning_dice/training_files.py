"""The files that one saving throw leaves beside somebody's training."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import fsspec
from fsspec.utils import get_protocol

from lightning_dice.pages import write_json
from lightning_dice.records import RollLog, SlotFile, unwritable
from lightning_dice.rules import SettingError

FORMAT = 1
"""The format of ``saving_throw.json`` and ``summary.json``."""
SUMMARY = "summary.json"


def local_folder(address: str) -> Path | None:
    """Return the folder of this machine that ``address`` names; ``None`` if it is elsewhere.

    Example:
        >>> local_folder("s3://bucket/run") is None
        True
        >>> local_folder("file:///tmp/run") == local_folder("/tmp/run") == Path("/tmp/run")
        True
    """
    protocol = get_protocol(address)
    if protocol not in ("file", "local"):
        return None
    return Path(str(fsspec.core.strip_protocol(address))) if "://" in address else Path(address)


def numbered(stem: str, ordinal: int) -> str:
    """Return the name of what belongs to one of several saving throws in a training.

    Example:
        >>> numbered("rolls", 0), numbered("rolls", 1)
        ('rolls', 'rolls-2')
    """
    return stem if ordinal == 0 else f"{stem}-{ordinal + 1}"


class TrainingFiles:
    """Rolls, slots and the description of one saving throw, in the folder of a training.

    ``rolls.csv`` has every roll. ``slots.csv`` names the parameters of each slot, where a scope has
    several. ``saving_throw.json`` has all that a report needs beside them; a training of the
    application has a ``summary.json`` instead.

    Args:
        folder: Where the files are; it is made with the first of them.
        ordinal: Tells apart several saving throws in one training; the first is 0.
        several: Whether the scope has several slots.
        rolls: The rolls of the training.
    """

    def __init__(self, folder: Path, ordinal: int, several: bool, rolls: RollLog) -> None:
        self._folder = folder
        self._rolls = rolls
        self._rolls_path = folder / f"{numbered('rolls', ordinal)}.csv"
        self._path = folder / f"{numbered('saving_throw', ordinal)}.json"
        slots = folder / f"{numbered('slots', ordinal)}.csv"
        self._slots = SlotFile(slots) if several else None
        self._started, self._clock = datetime.now(UTC), time.monotonic()

    @property
    def rolls_path(self) -> Path:
        """The file of the rolls, as no other name for it is."""
        return self._rolls_path.absolute()

    def open(self, next_batch: int, next_step: int) -> None:
        """Write rolls from here on.

        Args:
            next_batch: The mini-batch that training continues with.
            next_step: The optimizer step that it continues with.

        Raises:
            SettingError: If the folder cannot be written, or its rolls have a gap.
        """
        expected = self._rolls.expected
        gone = self._path.exists() and not self._rolls_path.exists()
        if gone and next_batch and expected is not None and expected.rows:
            remedy = (
                f"is gone, and the training goes on from a checkpoint after {expected.rows} rolls; "
                f"restore the file, or move {self._path.name} away to go on in new files"
            )
            raise SettingError("rolls", str(self._rolls_path), remedy)
        self._rolls.open(self._rolls_path, next_batch, next_step)

    def write(
        self,
        slots: Iterable[Mapping[int, Iterable[Hashable]]],
        names: Callable[[], Mapping[Any, Sequence[str]]],
    ) -> None:
        """Write the rolls that are pending, and the slots if they have changed.

        Args:
            slots: For each optimizer its parameters by slot.
            names: Gives the names of parameters.

        Raises:
            SettingError: If they cannot be written.
        """
        self._rolls.flush()
        if self._slots is not None:
            self._slots.write(slots, names())

    def describe(
        self, status: str, description: Mapping[str, Any], error: BaseException | None = None
    ) -> None:
        """Write ``saving_throw.json``, unless the folder has a ``summary.json``.

        Args:
            status: ``running``, ``finished``, ``interrupted`` or ``failed``.
            description: The task, the dice and what they came to, as plain values.
            error: What ended the training, if it did not finish.

        Raises:
            SettingError: If it cannot be written.
        """
        if (self._folder / SUMMARY).exists():
            return
        summary = {
            "format": FORMAT,
            "status": status,
            "error": None if error is None else f"{type(error).__name__}: {error}",
            "started": self._started.isoformat(timespec="seconds"),
            "wall_time": round(time.monotonic() - self._clock, 3),
            **description,
        }
        try:
            write_json(self._path, summary)
        except OSError as failed:
            raise unwritable(self._path, failed) from failed
