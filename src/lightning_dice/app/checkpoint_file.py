"""Reads the weights of a checkpoint that may have come from somebody else: tensors, and no code."""

from __future__ import annotations

import os
import zipfile
import zlib
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor

from lightning_dice.foreign import MB, Unreadable, open_file

LARGEST = 100_000 * MB
"""Most bytes of a checkpoint. Its tensors stay in the file until they are used."""
_DIRECTORY = 16 * MB
"""Most bytes of a zip file's list of its parts."""


def read_weights(path: Path, root: Path) -> dict[str, Tensor]:
    """Read the ``state_dict`` of a checkpoint that Lightning has written.

    Args:
        path: The file.
        root: The run's folder, which the file must lie in.

    Raises:
        FileNotFoundError: If there is none.
        Unreadable: If it is damaged, or holds anything else than tensors and plain values.
    """
    with open_file(path, LARGEST, root) as file:
        _check_parts(file)
        try:
            # Mapped, so that a file takes no more memory than the weights that fit a model.
            checkpoint = torch.load(
                path.resolve(), map_location="cpu", weights_only=True, mmap=True
            )
        except Exception as error:  # the bytes of a stranger decide what goes wrong in there
            raise Unreadable(f"cannot be read as a checkpoint ({type(error).__name__})") from error
    weights = checkpoint.get("state_dict") if isinstance(checkpoint, dict) else None
    if not isinstance(weights, dict) or not weights:
        raise Unreadable("cannot be read as a checkpoint (it has no state_dict)")
    for name, weight in weights.items():
        dense = isinstance(weight, Tensor) and weight.layout is torch.strided
        if not isinstance(name, str) or not dense or weight.is_meta or weight.is_quantized:
            raise Unreadable(f"cannot be read as a checkpoint ({str(name)[:80]!r} is no tensor)")
    return weights


def _check_parts(file: BinaryIO) -> None:
    """Refuse a zip file whose parts are damaged, or packed: then they could be of any size."""
    try:
        _check_directory(file)
        with zipfile.ZipFile(file) as parts:
            packed = [one for one in parts.infolist() if one.compress_type != zipfile.ZIP_STORED]
            if packed or any(one.file_size != one.compress_size for one in parts.infolist()):
                raise Unreadable("cannot be read as a checkpoint (its parts are packed)")
            damaged = parts.testzip()
    except Unreadable:
        raise
    except (
        *(zipfile.BadZipFile, zlib.error, OSError, EOFError),
        *(ValueError, LookupError, RuntimeError, NotImplementedError),
    ) as error:
        remedy = f"cannot be read as a checkpoint ({type(error).__name__})"
        raise Unreadable(remedy) from error
    if damaged is not None:
        raise Unreadable(f"cannot be read as a checkpoint ({damaged[:80]} is damaged)")


def _check_directory(file: BinaryIO) -> None:
    """Refuse a list of parts that alone would fill the memory."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - 2**16))
    tail = file.read()
    end = tail.rfind(b"PK\x05\x06")
    listed = int.from_bytes(tail[end + 12 : end + 16], "little")
    wide = tail.rfind(b"PK\x06\x06")
    if listed == 2**32 - 1 and wide >= 0:
        listed = int.from_bytes(tail[wide + 40 : wide + 48], "little")
    if end < 0 or listed > _DIRECTORY:
        raise Unreadable("cannot be read as a checkpoint (it is no zip file of its parts)")
