"""Roll-to-Train as a plain loop in float64, for every kind of dice: the rule, word for word.

Only the faces are the package's own (``Roller``), whose generator has a reference of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.model_helpers import is_overridden
from torch import Tensor
from torch.optim import Optimizer

from lightning_dice import SavingThrow, SavingThrowCallback
from lightning_dice.rules import Roller
from support.toy import BATCHES, Factory, data, loader, loss_of, network, quiet_trainer

SEED = 630
FACTORS = [None, -0.75, 0.25, 0.0, 1.0, 2.5]
"""What the faces mean: discard, inverse, part, nothing, full, more than full."""
THROW = SavingThrow("d6", 2, FACTORS)
FULL = SavingThrow("d6", 2, [1.0] * 6)
EXACT = 1e-12
TARGETS = ("gradient", "update")
KINDS = (*TARGETS, "per_mini_batch")


class Window(NamedTuple):
    """An optimizer step: what its roll belongs to, its mini-batches, and what divides a loss."""

    step: int
    batches: list[int]
    divisor: int = 1


def windows(*epochs: list[int], divisor: int | None = None) -> list[Window]:
    """Windows of so many batches, epoch after epoch, which is also what divides their losses."""
    made: list[Window] = []
    batch = 0
    for count in [count for epoch in epochs for count in epoch]:
        made.append(Window(len(made), list(range(batch, batch + count)), divisor or count))
        batch += count
    return made


def fit_exactly(model: LightningModule, callbacks: Iterable[Callback], **settings: Any) -> Trainer:
    """Train in float64, so that a plain loop is matched to 12 digits, and validate if possible."""
    trainer = quiet_trainer(callbacks, **{"max_steps": -1, "precision": "64-true", **settings})
    validates = isinstance(model, LightningModule) and is_overridden("validation_step", model)
    trainer.fit(model, loader(), loader() if validates else None)
    return trainer


def dice(kind: str, throw: SavingThrow = THROW, **settings: Any) -> SavingThrowCallback:
    where = {"granularity": kind} if kind == "per_mini_batch" else {"target": kind}
    return SavingThrowCallback(throw, seed=SEED, **where, **settings)


def factor(key: int, optimizer: int = 0, slot: int = 0) -> float | None:
    (face,) = Roller(THROW, SEED, stream=optimizer).naturals(key, 1, slot)
    return FACTORS[int(face) - 1]


def roll(optimizer: Optimizer, kind: str, factors: Mapping[Tensor, float | None]) -> None:
    """One step of ``optimizer``, with a factor for each parameter that is rolled for."""
    before = {parameter: parameter.detach().clone() for parameter in factors}
    if kind == "gradient":
        for parameter, scale in factors.items():
            held = parameter.grad
            parameter.grad = None if scale is None or held is None else held * scale
    optimizer.step()
    if kind == "update":
        with torch.no_grad():
            for parameter, scale in factors.items():
                own = parameter - before[parameter]
                parameter.copy_(before[parameter] + scale * own if scale else before[parameter])


def train(
    factory: Factory,
    kind: str,
    windows: Iterable[Window],
    size: int = BATCHES,
    schedule: Callable[[Optimizer, int], Any] = lambda optimizer, step: None,
    chosen: Callable[[int, str], bool] = lambda step, name: True,
) -> list[Tensor]:
    """The weights after ``windows``.

    Args:
        factory: Makes the optimizer.
        kind: What is rolled for.
        windows: The optimizer steps; mini-batches are counted over the whole training.
        size: How many of them an epoch has.
        schedule: Called with the optimizer and the step's number after each step.
        chosen: Whether it is rolled for, by the step's number and the parameter's name.
    """
    net = network().double()
    parameters = list(net.parameters())
    optimizer = factory(parameters)
    batches = [(inputs.double(), targets.double()) for inputs, targets in data()]
    for step, window, divisor in windows:
        optimizer.zero_grad()
        for batch in window:
            scale = factor(batch) if kind == "per_mini_batch" else 1.0
            if scale is not None:
                (scale * loss_of(net, batches[batch % size]) / divisor).backward()
        rolled = [p for name, p in net.named_parameters() if chosen(step, name)]
        roll(optimizer, kind, dict.fromkeys(rolled, factor(step)))
        schedule(optimizer, step)
    return [p.detach() for p in parameters]


def apart(ours: Iterable[Tensor], theirs: Iterable[Tensor]) -> float:
    """The largest difference, relative to the largest value of its tensor."""
    pairs = [(a.detach().double(), b.detach().double()) for a, b in zip(ours, theirs, strict=True)]
    return max(((a - b).abs().max() / b.abs().max()).item() for a, b in pairs)


def leaves(tree: Any) -> list[Any]:
    """What nested dicts and lists hold, tensors as lists of their values, so that == compares."""
    if isinstance(tree, dict):
        return [leaf for key, value in tree.items() for leaf in (key, *leaves(value))]
    if isinstance(tree, list | tuple):
        return [leaf for value in tree for leaf in leaves(value)]
    return [tree.tolist() if isinstance(tree, Tensor) else tree]
