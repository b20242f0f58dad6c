"""The toy trained by several processes where there is no Lightning Trainer."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from lightning.fabric import Fabric
from lightning.fabric.strategies import DDPStrategy, FSDPStrategy, ModelParallelStrategy
from torch import Tensor, nn
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel
from transformers import TrainerCallback

from adapters.loops import Named
from distributed.messages import sent
from lightning_dice import SavingThrow
from lightning_dice.adapters.huggingface import SavingThrowTrainerCallback
from lightning_dice.adapters.torch_loop import DiceHandle, attach
from support import hf
from support.toy import adamw, data, loss_of

Dice = DiceHandle | SavingThrowTrainerCallback | None
Batches = list[tuple[Tensor, Tensor]]


class Trained(NamedTuple):
    """What a process has at the end."""

    parameters: list[Tensor]
    dice: Dice
    messages: list[int]


class Loop(NamedTuple):
    """A training on two processes.

    Attributes:
        train: What runs it.
        settings: Of the dice; ``None`` trains without.
    """

    train: Callable[[dict[str, Any] | None, Batches, Path], Trained]
    settings: dict[str, Any] | None


def share(rank: int, world_size: int, device: str = "cpu") -> Batches:
    """This process's part of every mini-batch of the toy."""
    mine = slice(rank, None, world_size)
    return [(inputs[mine].to(device), targets[mine].to(device)) for inputs, targets in data()]


def _device(batches: Batches) -> torch.device:
    return batches[0][0].device


def _backend(batches: Batches) -> str:
    return "gloo" if _device(batches).type == "cpu" else "nccl"


def _run(model: nn.Module, optimizer: Any, dice: Any, batches: Batches, backward: Any) -> list[int]:
    before, messages = sent(), []
    for batch in batches:
        loss = loss_of(model, batch)
        backward(loss) if dice is None else dice.backward(loss, backward=backward)
        optimizer.step()
        optimizer.zero_grad()
        messages.append(sent() - before)
    return messages


def _fabric(strategy: Callable[[str], Any]) -> Callable[..., Trained]:
    def train(settings: dict[str, Any] | None, batches: Batches, folder: Path) -> Trained:
        kind = _device(batches).type
        fabric = Fabric(accelerator=kind, devices=2, strategy=strategy(_backend(batches)))
        fabric.launch()
        model = fabric.setup_module(Named())
        optimizer = fabric.setup_optimizers(adamw(model.parameters()))
        dice = None
        if settings is not None:
            dice = attach(optimizer, model=model, folder=folder, **settings)
        messages = _run(model, optimizer, dice, batches, fabric.backward)
        return Trained(list(model.parameters()), dice, messages)

    return train


def _sharded(model: nn.Module, mesh: Any) -> nn.Module:
    for layer in (model.net[0], model.net[2]):
        fully_shard(layer, mesh=mesh["data_parallel"])
    fully_shard(model, mesh=mesh["data_parallel"])
    return model


def _plain(settings: dict[str, Any] | None, batches: Batches, folder: Path) -> Trained:
    if not dist.is_initialized():
        dist.init_process_group(_backend(batches))
    model = DistributedDataParallel(Named().to(_device(batches)))
    optimizer = adamw(model.parameters())
    dice = None
    if settings is not None:
        dice = attach(optimizer, model=model, folder=folder, **settings)
    messages = _run(model, optimizer, dice, batches, Tensor.backward)
    return Trained(list(model.parameters()), dice, messages)


class _Messages(TrainerCallback):
    """Counts from the start of the first step to the end of each."""

    def __init__(self) -> None:
        self.counts: list[int] = []
        self._before: int | None = None

    def on_step_begin(self, *args: Any, **kwargs: Any) -> None:
        self._before = sent() if self._before is None else self._before

    def on_step_end(self, *args: Any, **kwargs: Any) -> None:
        self.counts.append(sent() - self._before)


def _huggingface(
    settings: dict[str, Any] | None, batches: Batches, folder: Path, **arguments: Any
) -> Trained:
    dice = None if settings is None else SavingThrowTrainerCallback(**settings)
    messages = _Messages()
    trainer = hf.trainer(
        folder,
        [messages] if dice is None else [dice, messages],
        kind=hf.DiceTrainer,
        factory=adamw,
        loader=hf.Given([{"inputs": inputs, "labels": labels} for inputs, labels in batches]),
        max_steps=len(batches),
        ddp_backend=_backend(batches),
        use_cpu=_device(batches).type == "cpu",
        **arguments,
    )
    trainer.train()
    return Trained(list(trainer.model.parameters()), dice, messages.counts)


WAYS = {
    "loop_ddp": _plain,
    "fabric_ddp": _fabric(lambda backend: DDPStrategy(process_group_backend=backend)),
    "fabric_fsdp2": _fabric(lambda backend: ModelParallelStrategy(_sharded, 2, 1)),
    "hf_ddp": _huggingface,
}
"""Each with every kind of dice that the strategies of Lightning are tried with."""
GPU_WAYS = {
    **WAYS,
    "fabric_fsdp": _fabric(lambda backend: FSDPStrategy()),
    "hf_fsdp": partial(_huggingface, fsdp="full_shard", fsdp_config={"fsdp_version": 1}),
    "hf_fsdp2": partial(_huggingface, fsdp="full_shard", fsdp_config={"fsdp_version": 2}),
}
"""With those that need a GPU."""


def loops(
    dice: dict[str, dict[str, Any] | None],
    throw: SavingThrow,
    seed: int,
    ways: dict[str, Any] = WAYS,
) -> dict[str, Loop]:
    """The trainings, by name."""
    return {
        f"{way}-{name}": Loop(
            train, None if settings is None else {"throw": throw, "seed": seed, **settings}
        )
        for way, train in ways.items()
        for name, settings in dice.items()
    }
