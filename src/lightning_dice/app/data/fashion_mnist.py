"""Pictures of clothes: Fashion-MNIST, as its four files are published."""

from __future__ import annotations

import gzip
import io
import zlib
from functools import cached_property
from pathlib import Path
from typing import ClassVar, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, TensorDataset
from typing_extensions import override

from lightning_dice.app.data.base import Baseline, Batch, TaskData
from lightning_dice.app.data.noise import with_wrong_labels
from lightning_dice.foreign import MB, Unreadable, read_bytes
from lightning_dice.rules import SettingError

FOLDER = Path("/usr/share/datasets/fashion-mnist")
"""Where Debian's package ``dataset-fashion-mnist`` puts it."""
INSTALL = "apt-get install dataset-fashion-mnist, or give a folder with its four files"
TEST_SHARE = 10_000 / 70_000
"""The data set's own parting of its images."""
CLASSES = 10
LARGEST = 200 * MB
"""Most bytes of one file, packed or not; the largest one has 47 MB."""
UNSIGNED_BYTES = b"\0\0\x08"
"""What an IDX file of bytes begins with."""


class Clothes(NamedTuple):
    """Pictures, and what they show.

    Attributes:
        images: Shape ``(N, 28, 28)``, uint8.
        labels: 0 to 9, shape ``(N,)``, int64.
    """

    images: Tensor
    labels: Tensor


class FashionMNIST(TaskData):
    """60,000 grey images of shape ``(1, 28, 28)`` and their kinds; its 10,000 others are held out.

    Pixels are standardised by mean and standard deviation of the images to train on.

    Args:
        batch_size: Images in a mini-batch.
        label_noise: Share of the labels to train on that are wrong, 0 to 1.
        rows: How many images to train on, the first ones; ``None`` for all.
        path: The folder of its four IDX files, packed by gzip or not; ``None`` for Debian's.
    """

    kind: ClassVar[str] = "images"
    side: ClassVar[int] = 28

    def __init__(
        self, batch_size: int, label_noise: float, rows: int | None, path: str | None
    ) -> None:
        super().__init__(batch_size, TEST_SHARE, label_noise)
        if rows is not None and rows < 1:
            raise SettingError("data.rows", rows, "expected 1 or more, or null for all")
        self.rows = rows
        self.path = path

    @override
    def split(self) -> tuple[Dataset[Batch], Dataset[Batch]]:
        train, val = self._parts
        pixels = train.images.float()
        mean, deviation = pixels.mean(), pixels.std()

        def pairs(images: Tensor, labels: Tensor) -> Dataset[Batch]:
            standardised = ((images.float() - mean) / deviation).unsqueeze(1)
            # Typed no closer in torch.
            return cast(Dataset[Batch], TensorDataset(standardised, labels))

        noisy = with_wrong_labels(train.labels, self.label_noise)
        return pairs(train.images, noisy), pairs(*val)

    @override
    def baseline(self) -> Baseline:
        """Accuracy of always guessing the kind that is commonest among the images to train on."""
        train, val = self._parts
        commonest = train.labels.bincount().argmax()
        return Baseline("commonest kind", float((val.labels == commonest).float().mean()))

    @cached_property
    def _parts(self) -> tuple[Clothes, Clothes]:
        """What is trained on, its labels right, and what is held out."""
        folder = FOLDER if self.path is None else Path(self.path)
        train, val = read_clothes(folder, "train"), read_clothes(folder, "t10k")
        if self.rows is not None and self.rows > len(train.labels):
            remedy = f"there are {len(train.labels)} to train on; expected no more, or null for all"
            raise SettingError("data.rows", self.rows, remedy)
        return Clothes(train.images[: self.rows], train.labels[: self.rows]), val


def read_clothes(folder: Path, part: str) -> Clothes:
    """One part of the data set.

    Args:
        folder: Where its files are.
        part: ``train`` or ``t10k``.

    Raises:
        SettingError: If they are not there, or hold something else.
    """
    images, labels = (read_idx(folder, f"{part}-{kind}") for kind in ("images-idx3", "labels-idx1"))
    side = FashionMNIST.side
    if images.shape[1:] != (side, side) or not images.numel():
        remedy = f"its images of {part} have shape {tuple(images.shape)}; expected (N, 28, 28)"
        raise SettingError("data.path", str(folder), remedy)
    if labels.shape != images.shape[:1]:
        remedy = f"its labels of {part} have shape {tuple(labels.shape)}; expected ({len(images)},)"
        raise SettingError("data.path", str(folder), remedy)
    if int(labels.max()) >= CLASSES:
        remedy = f"its labels of {part} go up to {int(labels.max())}; expected 0 to {CLASSES - 1}"
        raise SettingError("data.path", str(folder), remedy)
    return Clothes(images, labels.long())


def read_idx(folder: Path, stem: str) -> Tensor:
    """An array of bytes in the IDX format: its dimensions as big-endian words, then its values.

    Args:
        folder: Where the file is.
        stem: Its name without ``-ubyte``, or without ``-ubyte.gz`` if it is packed.

    Returns:
        In the file's own shape, uint8.

    Raises:
        SettingError: If there is none, or it cannot be read as that.
    """
    path = folder / f"{stem}-ubyte"
    if not path.exists():
        path = folder / f"{stem}-ubyte.gz"
    raw = _unpacked(path)
    try:
        if not raw.startswith(UNSIGNED_BYTES):
            raise ValueError("it does not begin as one")
        start = 4 + 4 * raw[3]
        shape = np.frombuffer(raw[4:start], dtype=">u4").astype(int)
        values = np.frombuffer(raw, dtype=np.uint8, offset=start).reshape(shape)
    except (IndexError, ValueError) as error:
        remedy = f"is no IDX file of bytes ({error}); {INSTALL}"
        raise SettingError("data.path", str(path), remedy) from error
    return torch.from_numpy(values.copy())


def _unpacked(path: Path) -> bytes:
    if not path.parent.is_dir():
        raise SettingError("data.path", str(path.parent), f"there is no such folder; {INSTALL}")
    if not path.exists():
        remedy = f"it has neither {path.stem} nor {path.name}; {INSTALL}"
        raise SettingError("data.path", str(path.parent), remedy)
    try:
        # A run's folder may name the path, so that the file may be anything.
        raw = read_bytes(path, LARGEST, root=Path(path.absolute().anchor))
        if path.suffix == ".gz":
            raw = gzip.GzipFile(fileobj=io.BytesIO(raw)).read(LARGEST + 1)
        if len(raw) > LARGEST:
            raise Unreadable(f"it unpacks to more than {LARGEST // MB} MB")
        return raw
    except (OSError, EOFError, zlib.error, Unreadable) as error:
        remedy = f"cannot be read ({error}); {INSTALL}"
        raise SettingError("data.path", str(path), remedy) from error
