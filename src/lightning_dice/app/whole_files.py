"""Checkpoints that are in their place whole, and not before all else is."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

import torch
from lightning.fabric.plugins.io import TorchCheckpointIO
from typing_extensions import override

from lightning_dice.records import unwritable

DRAFT = ".part"


class WholeFiles(TorchCheckpointIO):
    """Writes a checkpoint beside its place and then moves it there, all at once.

    Lightning's own writes into the system's folder for temporary files, from which a move may be a
    copy that is cut short.

    While training is on, the move waits until the other files of the run have all that came before
    the checkpoint: ``held`` and ``publish``.
    """

    def __init__(self) -> None:
        super().__init__()
        self._drafts: dict[Path, Path] = {}
        self._holds = False

    @override
    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | os.PathLike[str], storage_options: Any = None
    ) -> None:
        place = Path(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        draft = place.with_name(place.name + DRAFT)
        try:
            with draft.open("wb") as file:
                written = _Written(file)
                try:
                    torch.save(checkpoint, cast("IO[bytes]", written))
                except RuntimeError as error:  # torch hides what the system said
                    raise written.error or error from error
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            draft.unlink(missing_ok=True)  # it takes room that is short
            raise unwritable(place, error) from error
        except BaseException:
            draft.unlink(missing_ok=True)
            raise
        self._drafts[place] = draft
        if not self._holds:
            self.publish()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Leave what is saved within beside its place."""
        self._holds = True
        try:
            yield
        finally:
            self._holds = False

    def publish(self) -> None:
        """Move what was saved to its place."""
        for place, draft in self._drafts.items():
            draft.replace(place)
        self._drafts.clear()

    def discard(self) -> None:
        """Delete what was saved and has not been published."""
        for draft in self._drafts.values():
            draft.unlink(missing_ok=True)
        self._drafts.clear()


class _Written(io.RawIOBase):
    """Passes on what is written to a file, and keeps the error that ends it."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.error: OSError | None = None

    @override
    def writable(self) -> bool:
        return True

    @override
    def write(self, data: Any) -> int:
        try:
            return self._file.write(data)
        except OSError as error:
            self.error = error
            raise
