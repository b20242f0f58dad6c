"""The toy model and its data as a HuggingFace Trainer takes them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader
from transformers import Trainer, TrainingArguments

from lightning_dice.adapters.huggingface import DiceTrainerMixin
from support.toy import BATCH, Factory, data, loss_of, network, sgd


class Regression(torch.nn.Module):
    """Gives its loss itself, as the models of transformers do."""

    def __init__(self, double: bool = False) -> None:
        super().__init__()
        self.net = network().double() if double else network()

    def forward(self, inputs: Any, labels: Any) -> dict[str, Any]:
        return {"loss": loss_of(self.net, (inputs, labels))}


class InOrder(Trainer):
    """Trains on the toy's batches in their order, as Trainers shuffle, with a given optimizer.

    Under FSDP there is something to make it of only once the model is sharded.
    """

    def __init__(self, *, factory: Factory, **settings: Any) -> None:
        super().__init__(**settings)
        self.factory = factory

    def create_optimizer(self, *args: Any) -> Any:
        if self.optimizer is None:
            self.optimizer = self.factory(self.model.parameters())
        return self.optimizer

    def get_train_dataloader(self) -> DataLoader[Any]:
        return self.train_dataset


class DiceTrainer(DiceTrainerMixin, InOrder):
    pass


class Given(DataLoader[Any]):
    """A loader of batches as they are given."""

    def __init__(self, batches: list[dict[str, Any]]) -> None:
        super().__init__(batches, batch_size=None)


def in_order(double: bool = False, repeat: int = 1) -> Any:
    """A loader of the toy's batches."""
    pairs = [pair for batch in repeat * data() for pair in zip(*batch, strict=True)]
    examples = [
        {"inputs": inputs.double(), "labels": labels.double()}
        if double
        else {"inputs": inputs, "labels": labels}
        for inputs, labels in pairs
    ]
    return DataLoader(examples, BATCH)


def arguments(folder: Path, **settings: Any) -> TrainingArguments:
    defaults = {
        "use_cpu": True,
        "max_steps": 12,
        "max_grad_norm": 0.0,
        "lr_scheduler_type": "constant",
        "report_to": "none",
        "disable_tqdm": True,
        "save_strategy": "no",
        "logging_strategy": "no",
        "remove_unused_columns": False,
    }
    return TrainingArguments(output_dir=str(folder), **{**defaults, **settings})


def trainer(
    folder: Path,
    callbacks: Any = (),
    *,
    kind: type[InOrder] = InOrder,
    factory: Factory = sgd,
    model: torch.nn.Module | None = None,
    loader: Any = None,
    more: dict[str, Any] | None = None,
    **settings: Any,
) -> Trainer:
    """A Trainer that is quiet, and whose optimizer is ``factory``'s."""
    os.environ.pop("ACCELERATE_MIXED_PRECISION", None)  # transformers 4 leaves the last one there
    model = Regression() if model is None else model
    return kind(
        model=model,
        args=arguments(folder, **settings),
        train_dataset=in_order() if loader is None else loader,
        factory=factory,
        callbacks=list(callbacks),
        **(more or {}),
    )
