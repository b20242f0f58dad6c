"""One training, written for each of the loops that dice are used from."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
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
OVERFLOWS = 5
"""The mini-batch whose loss is infinite, where there is a gradient scaler."""


class Case(NamedTuple):
    """What is trained.

    Attributes:
        dice: Settings of the dice; ``None`` trains without.
        accumulate: Mini-batches in a step.
        clip: The norm that gradients may have.
        precision: As Lightning names it.
        device: ``"cpu"`` or ``"cuda"``.
        fused: Whether the optimizer is.
    """

    dice: dict[str, Any] | None
    accumulate: int = 1
    clip: float | None = None
    precision: str = "32-true"
    device: str = "cpu"
    fused: bool = False

    @property
    def scaled(self) -> bool:
        return self.precision == "16-mixed"

    def optimizer(self, parameters: Any) -> Optimizer:
        """AdamW with two groups."""
        first, *others = parameters
        groups = [{"params": [first], "lr": 0.02}, {"params": others}]
        return torch.optim.AdamW(groups, lr=0.05, weight_decay=0.1, fused=self.fused or None)

    def loss(self, net: nn.Module, batch: Any, index: int) -> Tensor:
        """The loss of a mini-batch, which a gradient scaler may have to leave out."""
        infinite = self.scaled and index == OVERFLOWS
        return loss_of(net, batch) * (torch.inf if infinite else 1)

    def batches(self) -> list[tuple[Tensor, Tensor]]:
        return [(inputs.to(self.device), targets.to(self.device)) for inputs, targets in data()]


class Result(NamedTuple):
    """What a loop ends with."""

    weights: list[Tensor]
    rolls: list[RollRecord]


def _result(parameters: Any, dice: Any) -> Result:
    rolls = [] if dice is None else list(dice.rolls.recent)
    return Result([p.detach().cpu() for p in parameters], rolls)


def _attach(optimizer: Any, case: Case, **settings: Any) -> Any:
    if case.dice is None:
        return None
    return attach(optimizer, THROW, seed=SEED, **settings, **case.dice)


def _backward(dice: Any, loss: Tensor, backward: Any = Tensor.backward) -> None:
    backward(loss) if dice is None else dice.backward(loss, backward=backward)


def _callbacks(kind: Any, case: Case) -> list[Any]:
    return [] if case.dice is None else [kind(THROW, seed=SEED, **case.dice)]


class _Toy(Toy):
    def __init__(self, case: Case) -> None:
        super().__init__(case.optimizer)
        self.case = case

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return self.case.loss(self.net, batch, batch_idx)


def lightning(case: Case, folder: Path) -> Result:
    model, callbacks = _Toy(case), _callbacks(SavingThrowCallback, case)
    fit(
        model,
        callbacks,
        accelerator=case.device,
        devices=1,
        precision=case.precision,
        max_steps=BATCHES // case.accumulate,
        accumulate_grad_batches=case.accumulate,
        gradient_clip_val=case.clip,
    )
    return _result(model.parameters(), *callbacks or [None])


class Named(nn.Module):
    """Holds a network under the name that it has in a LightningModule and in a Trainer's model."""

    def __init__(self) -> None:
        super().__init__()
        self.net = network()

    def forward(self, inputs: Tensor) -> Tensor:
        output: Tensor = self.net(inputs)
        return output


def fabric(case: Case, folder: Path) -> Result:
    fabric = Fabric(accelerator=case.device, devices=1, precision=case.precision)
    model = Named()
    wrapped, optimizer = fabric.setup(model, case.optimizer(model.parameters()))
    dice = _attach(optimizer, case, model=wrapped)
    for index, batch in enumerate(case.batches()):
        loss = case.loss(wrapped, batch, index) / case.accumulate
        _backward(dice, loss, fabric.backward)
        if (index + 1) % case.accumulate == 0:
            if case.clip is not None:
                fabric.clip_gradients(
                    wrapped, optimizer, max_norm=case.clip, error_if_nonfinite=False
                )
            optimizer.step()
            optimizer.zero_grad()
    return _result(model.parameters(), dice)


class _Regression(hf.Regression):
    def __init__(self, case: Case) -> None:
        super().__init__()
        self.case = case
        self.calls = 0

    def forward(self, inputs: Any, labels: Any) -> dict[str, Any]:
        self.calls += 1
        return {"loss": self.case.loss(self.net, (inputs, labels), self.calls - 1)}


def huggingface(case: Case, folder: Path) -> Result:
    callbacks = _callbacks(SavingThrowTrainerCallback, case)
    model = _Regression(case).to(case.device)
    trainer = hf.trainer(
        folder,
        callbacks,
        kind=hf.DiceTrainer,
        factory=case.optimizer,
        model=model,
        use_cpu=case.device == "cpu",
        bf16=case.precision == "bf16-mixed",
        fp16=case.scaled,
        max_steps=BATCHES // case.accumulate,
        gradient_accumulation_steps=case.accumulate,
        max_grad_norm=case.clip or 0.0,
    )
    trainer.train()
    return _result(model.parameters(), *callbacks or [None])


def plain(case: Case, folder: Path) -> Result:
    model = Named().to(case.device)
    optimizer = case.optimizer(model.parameters())
    scaler = torch.amp.GradScaler(case.device, enabled=case.scaled)
    dtype = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}.get(case.precision)
    dice = _attach(optimizer, case, model=model, scaler=scaler if case.scaled else None)
    for index, batch in enumerate(case.batches()):
        with torch.autocast(case.device, dtype) if dtype else nullcontext():
            loss = case.loss(model, batch, index) / case.accumulate
        _backward(dice, scaler.scale(loss))
        if (index + 1) % case.accumulate == 0:
            if case.clip is not None:
                scaler.unscale_(optimizer)
                nn.utils.clip_grad_norm_(model.parameters(), case.clip)
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad()
    return _result(model.parameters(), dice)


LOOPS: dict[str, Callable[[Case, Path], Result]] = {
    "lightning": lightning,
    "fabric": fabric,
    "huggingface": huggingface,
    "plain": plain,
}
