"""One training, written for each of the loops that dice are used from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from lightning.fabric import Fabric
from torch import Tensor, nn
from torch.optim import Optimizer

from lightning_dice import SavingThrow, SavingThrowCallback
from lightning_dice.adapters.huggingface import SavingThrowTrainerCallback
from lightning_dice.adapters.torch_loop import attach
from lightning_dice.records import RollRecord
from support import hf
from support.toy import BATCHES, Toy, data, fit, loss_of, network

THROW = SavingThrow("d8", 4, [None, -0.5, -0.25, 0.0, 0.5, 0.75, 1.0, 2.0])
SEED = 7


class Case(NamedTuple):
    """What is trained: settings of the dice, accumulation and the norm that gradients may have."""

    dice: dict[str, Any]
    accumulate: int = 1
    clip: float | None = None


class Result(NamedTuple):
    """What a loop ends with."""

    weights: list[Tensor]
    rolls: list[RollRecord]


def two_groups(parameters: Any) -> Optimizer:
    first, *others = parameters
    groups = [{"params": [first], "lr": 0.02}, {"params": others}]
    return torch.optim.AdamW(groups, lr=0.05, weight_decay=0.1)


def lightning(case: Case, folder: Path) -> Result:
    model, dice = Toy(two_groups), SavingThrowCallback(THROW, seed=SEED, **case.dice)
    fit(
        model,
        [dice],
        max_steps=BATCHES // case.accumulate,
        accumulate_grad_batches=case.accumulate,
        gradient_clip_val=case.clip,
    )
    return Result(model.weights(), list(dice.rolls.recent))


def fabric(case: Case, folder: Path) -> Result:
    fabric = Fabric(accelerator="cpu", devices=1)
    net = network()
    named = Named(net)  # names as the others have them
    model, optimizer = fabric.setup(net, two_groups(net.parameters()))
    dice = attach(optimizer, THROW, seed=SEED, model=named, **case.dice)
    for index, batch in enumerate(data(), 1):
        loss = loss_of(model, batch) / case.accumulate
        dice.backward(loss, backward=fabric.backward)
        if index % case.accumulate == 0:
            if case.clip is not None:
                fabric.clip_gradients(model, optimizer, max_norm=case.clip)
            optimizer.step()
            optimizer.zero_grad()
    return Result([p.detach() for p in net.parameters()], list(dice.rolls.recent))


def huggingface(case: Case, folder: Path) -> Result:
    dice = SavingThrowTrainerCallback(THROW, seed=SEED, **case.dice)
    trainer = hf.trainer(
        folder,
        [dice],
        kind=hf.DiceTrainer,
        factory=two_groups,
        max_steps=BATCHES // case.accumulate,
        gradient_accumulation_steps=case.accumulate,
        max_grad_norm=case.clip or 0.0,
    )
    trainer.train()
    return Result([p.detach() for p in trainer.model.parameters()], list(dice.rolls.recent))


def plain(case: Case, folder: Path) -> Result:
    net = network()
    optimizer = two_groups(net.parameters())
    dice = attach(optimizer, THROW, seed=SEED, model=Named(net), **case.dice)
    for index, batch in enumerate(data(), 1):
        dice.backward(loss_of(net, batch) / case.accumulate)
        if index % case.accumulate == 0:
            if case.clip is not None:
                nn.utils.clip_grad_norm_(net.parameters(), case.clip)
            optimizer.step()
            optimizer.zero_grad()
    return Result([p.detach() for p in net.parameters()], list(dice.rolls.recent))


class Named(nn.Module):
    """Holds a network under the name that it has in a LightningModule and in a Trainer's model."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net


LOOPS: dict[str, Callable[[Case, Path], Result]] = {
    "lightning": lightning,
    "fabric": fabric,
    "huggingface": huggingface,
    "plain": plain,
}
