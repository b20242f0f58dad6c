"""Losses that take a while to compute: kept as they come, so that what was interrupted goes on."""

from __future__ import annotations

import hashlib
import io
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from zipfile import ZIP_STORED, BadZipFile, ZipFile

import numpy as np
import torch
from torch import Tensor

from lightning_dice.analysis.readers import Floats
from lightning_dice.foreign import MB, make_inside, read_bytes
from lightning_dice.pages import write_whole
from lightning_dice.probes import Objective
from lightning_dice.probes.surface import Points, fitting, losses_along

LARGEST = 64 * MB
"""Most bytes of a file of values."""
SECONDS = 5.0
"""Between two times that values are written."""


class KeptValues:
    """Computes losses at points, and goes on with those that a file already has.

    A file counts if it is of the very same points, data and kind of device; otherwise it is begun
    anew.

    Args:
        folder: Where the files are, one for each set of points.
        objective: What is computed.
        batches: The data behind it.
        told: Is told how many more values are known.
    """

    def __init__(
        self,
        folder: Path,
        objective: Objective,
        batches: Sequence[Sequence[Tensor]],
        told: Callable[[int], None] = lambda count: None,
    ) -> None:
        self._folder = folder
        self._objective = objective
        self._data = digest([part for batch in batches for part in batch])
        self._told = told
        self._at_once = fitting(objective)

    def losses(self, name: str, points: Points) -> Floats:
        """The losses at points, in their order.

        Args:
            name: Of the file, without its suffix.
            points: Where.

        Returns:
            Shape ``(K,)``; what is not finite stays what it is.
        """
        path = self._folder / f"{name}.npz"
        what = f"{digest(points)} {self._data} {points.centre.device.type}"
        known = _read(path, what)[: len(points.coordinates)]
        self._told(len(known))
        written = time.monotonic()
        for part in losses_along(self._objective, points, len(known), self._at_once):
            known = np.concatenate([known, part.double().numpy()])
            self._told(len(part))
            if time.monotonic() - written > SECONDS:
                _write(path, what, points, known)
                written = time.monotonic()
        _write(path, what, points, known)
        return known


def digest(tensors: Sequence[Tensor]) -> str:
    """What tells tensors from others: a hash of their shapes and bytes.

    Example:
        >>> digest([torch.zeros(2)]) == digest([torch.zeros(2)]) != digest([torch.zeros(1, 2)])
        True
    """
    found = hashlib.sha256()
    for tensor in tensors:
        found.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
        found.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().data)
    return found.hexdigest()


def _read(path: Path, what: str) -> Floats:
    try:
        content = io.BytesIO(read_bytes(path, LARGEST))
        with ZipFile(content) as parts:  # one that is packed could be of any size
            if any(part.compress_type != ZIP_STORED for part in parts.infolist()):
                return np.empty(0)
        with np.load(content) as file:
            if str(file["what"]) == what:
                known: Floats = file["losses"].astype(np.float64)
                return known
    except (OSError, ValueError, LookupError, EOFError, MemoryError, BadZipFile):
        pass  # there is none yet, or none that can be read
    return np.empty(0)


def _write(path: Path, what: str, points: Points, losses: Floats) -> None:
    make_inside(path.parent.parent, path.parent.name)
    content = io.BytesIO()
    np.savez(
        content, what=np.array(what), coordinates=points.coordinates.cpu().numpy(), losses=losses
    )
    write_whole(path, content.getvalue())
