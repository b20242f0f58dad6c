"""The one toy model of the suite, and Trainers that are quiet and leave nothing behind."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader, TensorDataset

from support.plugins import looked_up_once

BATCH = 4
BATCHES = 12

Factory = Callable[[Iterable[nn.Parameter]], Optimizer]


def sgd(parameters: Iterable[nn.Parameter]) -> Optimizer:
    return torch.optim.SGD(parameters, lr=0.1)


def momentum(parameters: Iterable[nn.Parameter]) -> Optimizer:
    return torch.optim.SGD(parameters, lr=0.1, momentum=0.9, weight_decay=0.01)


def adamw(parameters: Iterable[nn.Parameter]) -> Optimizer:
    return torch.optim.AdamW(parameters, lr=0.05, weight_decay=0.1)


OPTIMIZERS: dict[str, Factory] = {"sgd": sgd, "momentum": momentum, "adamw": adamw}


def network() -> nn.Sequential:
    generator = torch.Generator().manual_seed(7)
    net = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 1))
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) / 2)
    return net


def data() -> list[tuple[Tensor, Tensor]]:
    """The batches of one epoch, in order."""
    generator = torch.Generator().manual_seed(8)
    inputs = torch.randn(BATCH * BATCHES, 3, generator=generator)
    targets = inputs.sum(1, keepdim=True).sin()
    return list(zip(inputs.split(BATCH), targets.split(BATCH), strict=True))


def loader() -> DataLoader[Any]:
    batches = data()
    inputs, targets = (torch.cat(parts) for parts in zip(*batches, strict=True))
    return DataLoader(TensorDataset(inputs, targets), BATCH)


def loss_of(net: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    return (net(batch[0]) - batch[1]).square().mean()


class Toy(LightningModule):
    """A regression whose losses are kept as they were returned."""

    def __init__(self, optimizer: Factory = sgd) -> None:
        super().__init__()
        self.net = network()
        self.factory = optimizer
        self.losses: list[float] = []

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        loss = loss_of(self.net, batch)
        self.losses.append(loss.item())
        self.log("train_loss", loss)
        return loss

    def configure_optimizers(self) -> Optimizer:
        return self.factory(self.parameters())

    def weights(self) -> list[Tensor]:
        return [p.detach().clone() for p in self.parameters()]


def quiet_trainer(callbacks: Iterable[Callback] = (), **settings: Any) -> Trainer:
    defaults: dict[str, Any] = {
        "accelerator": "cpu",
        "max_steps": 10,
        "logger": False,
        "log_every_n_steps": 5,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    with looked_up_once():
        return Trainer(callbacks=list(callbacks), **{**defaults, **settings})


def fit(model: LightningModule, callbacks: Iterable[Callback] = (), **settings: Any) -> Trainer:
    trainer = quiet_trainer(callbacks, **settings)
    trainer.fit(model, loader())
    return trainer


def same(ours: Iterable[Tensor], theirs: Iterable[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
