"""Python's own manual as a corpus of English text."""

from __future__ import annotations

import importlib
from typing import ClassVar

import torch
from torch import Tensor
from torch.utils.data import Dataset
from typing_extensions import override

from lightning_dice.app.data.base import Baseline, Batch, TaskData
from lightning_dice.app.data.noise import with_wrong_labels
from lightning_dice.rules import SettingError

BYTES = 256


def read_corpus() -> Tensor:
    """The text of every help topic that CPython ships, as bytes: shape ``(N,)``, uint8.

    The text differs a little between Python versions, so nothing may pin a length or a loss.
    """
    topics: dict[str, str] = importlib.import_module("pydoc_data.topics").topics
    text = "\n\n".join(dict.fromkeys(topics[name] for name in sorted(topics)))
    return torch.frombuffer(bytearray(text, "utf-8"), dtype=torch.uint8)


class Windows(Dataset[Batch]):
    """Windows of ``context`` bytes and the bytes that follow each of them.

    Args:
        text: Shape ``(N,)``, N > context.
        context: Bytes in a window.
        answers: Where the bytes that follow are read from, shape ``(N,)``; ``text`` by default.

    Example:
        >>> windows = Windows(torch.tensor([10, 11, 12, 13, 14], dtype=torch.uint8), context=2)
        >>> len(windows), windows[1]
        (2, (tensor([12, 13]), tensor([13, 14])))
    """

    def __init__(self, text: Tensor, context: int, answers: Tensor | None = None) -> None:
        self.text = text
        self.context = context
        self.answers = text if answers is None else answers

    def __len__(self) -> int:
        return (len(self.text) - 1) // self.context

    def __getitem__(self, index: int) -> Batch:
        return self.window(index * self.context)

    def window(self, start: int) -> Batch:
        """The window at ``start``: inputs and targets, each of shape ``(context,)``, int64."""
        end = start + self.context
        return self.text[start:end].long(), self.answers[start + 1 : end + 1].long()


class ShiftedWindows(Windows):
    """The same windows, each moved by a random part of its length every time it is read."""

    @override
    def __getitem__(self, index: int) -> Batch:
        furthest = len(self.text) - self.context - 1
        shift = int(torch.randint(self.context, ()))
        return self.window(min(index * self.context + shift, furthest))


class PythonDocs(TaskData):
    """Next-byte prediction on Python's manual; the last part of the text is held out.

    Args:
        context: Bytes in a window, 1 or more.
        batch_size: Windows in a mini-batch.
        val_fraction: Share of the text held out.
        label_noise: Share of the other bytes that are another byte where they are to be predicted,
            and themselves where they are read.
        train_fraction: Share of the whole text that is trained on, from its beginning; ``None`` for
            all that is not held out.
    """

    kind: ClassVar[str] = "text"

    def __init__(
        self,
        context: int,
        batch_size: int,
        val_fraction: float,
        label_noise: float,
        train_fraction: float | None = None,
    ) -> None:
        super().__init__(batch_size, val_fraction, label_noise)
        if context < 1:
            raise SettingError("data.context", context, "expected 1 or more")
        if train_fraction is not None and not 0 < train_fraction <= 1 - val_fraction:
            allowed = f"expected a share from above 0 to 1 - data.val_fraction={val_fraction}"
            raise SettingError("data.train_fraction", train_fraction, allowed)
        self.context = context
        self.train_fraction = train_fraction

    @override
    def split(self) -> tuple[Dataset[Batch], Dataset[Batch]]:
        train, val = self._texts()
        for part, use in ((val, "held out"), (train, "trained on")):
            if len(part) <= self.context:
                remedy = f"only {len(part)} bytes are {use}; take fewer"
                raise SettingError("data.context", self.context, remedy)
        answers = with_wrong_labels(train, self.label_noise)
        return ShiftedWindows(train, self.context, answers), Windows(val, self.context)

    @override
    def baseline(self) -> Baseline:
        """Mean negative log-likelihood of a bigram model with add-one smoothing, nats per byte."""
        train, val = self._texts()
        return Baseline("bigram", bigram_loss(train, val))

    def _texts(self) -> tuple[Tensor, Tensor]:
        text = read_corpus()
        cut = len(text) - round(self.val_fraction * len(text))
        used = cut if self.train_fraction is None else int(self.train_fraction * len(text))
        return text[: min(used, cut)], text[cut:]


def bigram_loss(train: Tensor, val: Tensor) -> float:
    """What counting pairs of bytes in ``train`` gives on ``val``, in nats per byte.

    A byte has probability (pairs + 1) / (first bytes + bytes in use), where the bytes in use are
    those that either text has: smoothing over all 256 would only weaken the baseline.

    Args:
        train: Shape ``(N,)``, uint8.
        val: Shape ``(M,)``, uint8, M > 1.

    Example:
        >>> text = torch.tensor([1, 2] * 500, dtype=torch.uint8)
        >>> round(bigram_loss(text, text), 3)
        0.002
    """
    in_use = int(torch.cat((train, val)).bincount().count_nonzero())
    pairs = train[:-1].long() * BYTES + train[1:].long()
    counts = torch.bincount(pairs, minlength=BYTES * BYTES).reshape(BYTES, BYTES).double()
    chance = (counts + 1) / (counts.sum(dim=1, keepdim=True) + in_use)
    return float(-chance[val[:-1].long(), val[1:].long()].log().mean())
