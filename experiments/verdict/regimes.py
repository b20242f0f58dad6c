"""The regimes of the study: data, network, budget and the order of examples."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, NamedTuple

import torch
from bert import PackedBert
from corpora import Data, Part, read_fashion, read_manual, read_opinions, read_source
from networks import Network, PackedCNN, PackedGPT
from torch import Tensor

_ORDER = 2**32
"""Added to a run's seed for the order of its examples, so that it is not that of its weights."""


class Batch(NamedTuple):
    """Examples of some runs: inputs ``(N, B, ...)`` and what is to be predicted, ``(N, ...)``."""

    inputs: Tensor
    targets: Tensor


@dataclass(frozen=True)
class Regime:
    """What all arms have in common.

    Attributes:
        name: Of the regime.
        kind: Of the data.
        load: Reads the data.
        network: What is trained.
        bases: Base optimizers, by name.
        batch: Examples in a mini-batch.
        steps: Of plain training.
        once: Whether no example may come twice.
        label_noise: Share of wrong training labels, for the record.
        most: Windows of a text that are evaluated, spread evenly over it.
        lowest: Of the learning rates that every arm is tried with; ``None`` for the base
            optimizer's own.
        pack: Most runs side by side; ``None`` for as many as asked for.
    """

    name: str
    kind: Literal["text", "images", "reviews"]
    load: Callable[[], Data]
    network: Network
    bases: tuple[str, ...] = ("adamw", "rmsprop")
    batch: int = 16
    steps: int = 1000
    once: bool = False
    label_noise: float = 0.0
    most: int = 1024
    lowest: float | None = None
    pack: int | None = None

    @property
    def labelled(self) -> bool:
        """Whether examples have one label each, so that accuracy is what is measured."""
        return self.kind != "text"

    @property
    def context(self) -> int:
        """Bytes in a window of a text."""
        assert isinstance(self.network, PackedGPT)
        return self.network.context

    def order(self, train: Part, seed: int, steps: int) -> Tensor:
        """Which examples each step trains on: their indices, or where their windows start.

        A longer order begins like a shorter one. Windows of a text that is read many times are
        moved by another part of their length each time.

        Args:
            train: What is trained on.
            seed: Of the run.
            steps: How many.

        Returns:
            Shape ``(steps, batch)``, int32.

        Raises:
            ValueError: If no example may come twice and there are too few.
        """
        wanted = steps * self.batch
        available = self._examples(train)
        if self.once and wanted > available:
            raise ValueError(f"{self.name}: {steps} steps take {wanted} examples of {available}")
        rounds, drawn = [], 0
        passes = self._passes(train, torch.Generator().manual_seed(seed + _ORDER))
        while drawn < wanted:
            rounds.append(next(passes))
            drawn += available
        return torch.cat(rounds)[:wanted].view(steps, self.batch).int()

    def _examples(self, part: Part) -> int:
        size = len(part.inputs)
        return size if self.labelled else (size - 1) // self.context

    def _passes(self, train: Part, generator: torch.Generator) -> Iterator[Tensor]:
        available = self._examples(train)
        while True:
            order = torch.randperm(available, generator=generator)
            if not self.labelled:
                order = order * self.context
                if not self.once:
                    order += torch.randint(self.context, order.shape, generator=generator)
                    order.clamp_(max=len(train.inputs) - self.context - 1)
            yield order

    def take(self, part: Part, where: Tensor) -> Batch:
        """The examples at ``where``, ``(N, B)``, as ``order`` gives it."""
        where = where.long()
        if part.labels is not None:
            return Batch(part.inputs[where], part.labels[where])
        steps = torch.arange(self.context + 1, device=where.device)
        window = part.inputs[where.unsqueeze(-1) + steps].long()
        return Batch(window[..., :-1], window[..., 1:].flatten(1))

    def evaluated(self, part: Part) -> Tensor:
        """Where a part of the data is evaluated, shape ``(M,)``."""
        available = self._examples(part)
        if self.labelled:
            return torch.arange(available)
        count = min(available, self.most)
        return torch.arange(count) * available // count * self.context


_GPT, _CNN = PackedGPT(), PackedCNN()
_MANUAL = Regime("manual", "text", read_manual, _GPT, steps=1000)
_FASHION = Regime(
    "fashion", "images", read_fashion, _CNN, bases=("adamw", "sgd"), batch=64, steps=1500
)

REGIMES = {
    regime.name: regime
    for regime in (
        _MANUAL,
        replace(_MANUAL, name="manual_long", steps=2500),
        replace(
            _FASHION,
            name="fashion_noisy",
            load=partial(read_fashion, label_noise=0.4),
            label_noise=0.4,
        ),
        Regime("source", "text", read_source, _GPT, steps=1500, once=True),
        _FASHION,
        Regime(
            "reviews",
            "reviews",
            read_opinions,
            PackedBert(),
            bases=("adamw",),
            batch=32,
            steps=560,
            lowest=1.25e-5,
            pack=48,
        ),
    )
}
"""The regimes by name, in the order in which they are run."""
