"""Runs one cell through Lightning and holds every step of it against the reference."""

from __future__ import annotations

import functools
import logging
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, NamedTuple

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.plugins.precision import MixedPrecision
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_dice import SavingThrow, SavingThrowCallback
from matrix.cells import GPU_OPTIMIZERS, OPTIMIZERS, Cell
from matrix.reference import CLIP, FACTORS, Reference
from support.plugins import looked_up_once

SEED = 630
THROW = SavingThrow("d6", 2, FACTORS)
FULL = SavingThrow("d6", 2, [1.0] * 6)
BATCHES = 8
OVERFLOW = 4
"""Index of the mini-batch whose loss is infinite where a gradient scaler is there to see it."""


# Muon multiplies in bfloat16, Adafactor in whatever autocast says, and LBFGS divides by differences
# of gradients: their own step in float64 is another one. What a roll makes of it is in float64.
OWN_PRECISION = ("Adafactor", "LBFGS", "Muon")


class Outcome(NamedTuple):
    """What came of a cell.

    Attributes:
        status: ``exact``, ``wrong`` or ``refused``.
        error: Worst error of a weight after a step, relative to the tensor's largest.
        identical: Whether scale 1 was bit-identical to training without dice.
        reason: Why it was refused, or what is wrong.
    """

    status: str
    error: float = 0.0
    identical: bool = True
    reason: str = ""


class Dense(nn.Module):
    """Matrices alone, as Muon takes nothing else."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 5, bias=False)
        self.second = nn.Linear(5, 3, bias=False)
        self.third = nn.Linear(3, 2, bias=False)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.third(torch.tanh(self.second(torch.tanh(self.first(inputs / 4 - 1)))))


class Sparse(nn.Module):
    """Embeddings with sparse gradients."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.EmbeddingBag(9, 2, sparse=True, mode="mean")
        self.second = nn.EmbeddingBag(9, 2, sparse=True, mode="mean")
        self.third = nn.EmbeddingBag(9, 2, sparse=True, mode="mean")

    def forward(self, inputs: Tensor) -> Tensor:
        index = inputs.long()
        return self.third(index) + self.first(index) * self.second(index)


def batches() -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(4)
    inputs = torch.randint(0, 9, (BATCHES * 4, 4), generator=generator).float()
    targets = torch.randn(BATCHES * 4, 2, generator=generator)
    return list(zip(inputs.split(4), targets.split(4), strict=True))


class Step(NamedTuple):
    """What one optimizer step started from, was given, and ended with."""

    before: list[Tensor]
    evaluations: list[tuple[float, list[Tensor]]]  # losses and gradients of its last mini-batch
    after: list[Tensor]


class Model(LightningModule):
    """Trains as its cell says, and keeps what every step was given and came to."""

    def __init__(self, cell: Cell) -> None:
        super().__init__()
        self.cell = cell
        self.net: nn.Module = Sparse() if cell.optimizer == "SparseAdam" else Dense()
        generator = torch.Generator().manual_seed(3)
        with torch.no_grad():
            for parameter in self.net.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator) / 1.5)
        self.automatic_optimization = cell.mode != "manual"
        self.steps: list[Step] = []
        self.evaluations: list[tuple[float, list[Tensor]]] = []

    # -- what is trained ----------------------------------------------------------------------

    def groups(self) -> list[list[Tensor]]:
        parameters = list(self.net.parameters())
        if self.cell.optimizer == "LBFGS":
            return [parameters]  # it takes no more than one group
        return [parameters[:2], parameters[2:]]

    def configure_optimizers(self) -> torch.optim.Optimizer:
        factory = {**GPU_OPTIMIZERS, **OPTIMIZERS}[self.cell.optimizer]
        return factory([{"params": group} for group in self.groups()])

    def loss(self, batch: Any, batch_idx: int) -> Tensor:
        loss = nn.functional.mse_loss(self.net(batch[0]).to(batch[1].dtype), batch[1])
        if self.cell.precision == "16-mixed" and batch_idx == OVERFLOW:
            loss = loss * torch.inf
        self.newest_loss = loss.item() / self.cell.accumulate
        return loss

    def steps_in(self, batch_idx: int) -> bool:
        return (batch_idx + 1) % self.cell.accumulate == 0 or batch_idx + 1 == BATCHES

    def training_step(self, batch: Any, batch_idx: int) -> Tensor | None:
        if self.automatic_optimization:
            return self.loss(batch, batch_idx)
        optimizer = self.optimizers()
        if self.cell.optimizer == "LBFGS" and self.steps_in(batch_idx):
            held = [None if p.grad is None else p.grad.clone() for p in self.net.parameters()]

            def closure() -> Tensor:
                for parameter, gradient in zip(self.net.parameters(), held, strict=True):
                    parameter.grad = None if gradient is None else gradient.clone()
                return self.evaluate(batch, batch_idx)

            optimizer.step(closure)
        else:
            self.evaluate(batch, batch_idx)
            if self.steps_in(batch_idx):
                optimizer.step()
        if self.steps_in(batch_idx):
            optimizer.zero_grad()
        return None

    def evaluate(self, batch: Any, batch_idx: int) -> Tensor:
        loss = self.loss(batch, batch_idx) / self.cell.accumulate
        self.manual_backward(loss)
        # With a gradient scaler this would clip what is still scaled.
        if self.steps_in(batch_idx) and self.cell.precision != "16-mixed":
            self.clip_by_hand()
        return loss

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        if self.cell.mode == "manual" and self.cell.precision == "16-mixed":
            self.clip_by_hand()

    def clip_by_hand(self) -> None:
        if self.cell.clip in ("norm", "value"):
            self.clip_gradients(self.optimizers(), CLIP, self.cell.clip)
        elif self.cell.clip == "own":
            self.own_clipping()

    def own_clipping(self) -> None:
        for parameter in self.net.parameters():
            if parameter.grad is not None:
                parameter.grad.mul_(0.3)

    # -- what is kept -------------------------------------------------------------------------

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        self.evaluations = []
        if batch_idx % self.cell.accumulate == 0:
            self.before = self.weights()

    def on_after_backward(self) -> None:
        scaler = getattr(self.trainer.precision_plugin, "scaler", None)
        scale = scaler.get_scale() if scaler else 1.0
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in self.parameters()]
        kept = [g.detach().clone() / scale for g in gradients]
        self.evaluations.append((self.newest_loss, kept))

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        if self.steps_in(batch_idx):
            self.steps.append(Step(self.before, self.evaluations, self.weights()))

    def weights(self) -> list[Tensor]:
        return [p.detach().clone() for p in self.net.parameters()]


class Clipping(Model):
    """Has a hook of its own for clipping."""

    def configure_gradient_clipping(self, *args: Any, **kwargs: Any) -> None:
        self.own_clipping()


def fit(cell: Cell, throw: SavingThrow | None, device: str) -> Model:
    """Train the cell's model for one epoch, with a saving throw or without."""
    callbacks: list[Callback] = []
    if throw is not None:
        filtered = cell.scope == "filtered"
        callbacks.append(
            SavingThrowCallback(
                throw,
                target=cell.target,  # type: ignore[arg-type]
                scope="model" if filtered else cell.scope,  # type: ignore[arg-type]
                exclude=["net.first.*"] if filtered else None,
                seed=SEED,
            )
        )
    settings: dict[str, Any] = {"precision": cell.precision}
    if cell.precision == "16-mixed":
        scaler = torch.amp.GradScaler(device, init_scale=2.0**10)
        settings = {"plugins": MixedPrecision("16-mixed", device, scaler)}
    if cell.mode != "manual":
        settings["accumulate_grad_batches"] = cell.accumulate
        if cell.clip in ("norm", "value"):
            settings["gradient_clip_val"] = CLIP
            settings["gradient_clip_algorithm"] = cell.clip
    own = cell.clip == "own" and cell.mode != "manual"
    model = (Clipping if own else Model)(cell)
    inputs, targets = (torch.cat(parts) for parts in zip(*batches(), strict=True))
    with looked_up_once():
        trainer = Trainer(
            callbacks=callbacks,
            accelerator="gpu" if device == "cuda" else "cpu",
            devices=1,
            max_epochs=1,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            **settings,
        )
    trained: Any = model
    if cell.mode == "compiled":
        torch._dynamo.reset()  # what was compiled for another model is not for this one
        # Which shapes are padded is a matter of timing, and with it how sums are rounded.
        options = {"triton.cudagraphs": True, "shape_padding": False}
        trained = torch.compile(model, options=options)
    trainer.fit(trained, DataLoader(TensorDataset(inputs, targets), 4))
    return model


def check(cell: Cell, device: str = "cpu") -> Outcome:
    """Run ``cell`` without dice, with a scale of 1 and with all sorts of scales."""
    plain = _without_dice(cell._replace(target="", scope=""), device)
    if isinstance(plain, str):
        return Outcome("refused", reason=f"without dice too: {plain}")
    full = fit(cell, FULL, device)
    identical = _same(full.steps, plain.steps) or _varies(cell, plain, device)
    diced = fit(cell, THROW, device)
    error, wrong = compare(cell, diced)
    tolerance = 1e-12 if cell.precision == "64-true" else 1e-6
    if not wrong and error > tolerance:
        wrong = f"an update is off by {error:.1e}"
    if not wrong and not identical:
        wrong = "scale 1 is not training without dice"
    return Outcome("wrong" if wrong else "exact", error, identical, wrong)


def compare(cell: Cell, model: Model) -> tuple[float, str]:
    """The worst relative error of a step of ``model``, and what else is wrong."""
    factory = {**GPU_OPTIMIZERS, **OPTIMIZERS}[cell.optimizer]
    device = model.steps[0].before[0].device  # the Trainer has taken the model off it
    groups = [[p.detach().to(device) for p in group] for group in model.groups()]
    narrow = cell.optimizer in OWN_PRECISION and cell.precision != "64-true"
    dtype = torch.float32 if narrow else torch.float64
    reference = Reference(factory, groups, cell.target, cell.scope, cell.clip, SEED, dtype)
    # By hand, optimizers step within training_step: under autocast, or with another default dtype.
    plugin = model.trainer.precision_plugin
    worst = 0.0
    for index, step in enumerate(model.steps):
        finite = all(bool(g.to_dense().isfinite().all()) for _, gs in step.evaluations for g in gs)
        if finite:
            with plugin.forward_context() if cell.mode == "manual" else nullcontext():
                expected = reference.step(index, step.before, iter(step.evaluations))
        else:
            expected = step.before  # the gradient scaler left the step out
        for weight, wanted in zip(step.after, expected, strict=True):
            worst = max(worst, _error(weight, wanted))
        if finite and (wrong := _off(cell, index, step)):
            return worst, wrong
    expected_steps = -(-BATCHES // cell.accumulate)
    return worst, "" if len(model.steps) == expected_steps else "steps are missing"


def _off(cell: Cell, index: int, step: Step) -> str:
    """What is wrong with the gradients that the step was given, where float64 can tell."""
    if "mixed" in cell.precision or (cell.optimizer == "LBFGS" and cell.accumulate > 1):
        return ""  # Lightning accumulates over the evaluations of a closure, too
    net = (Sparse() if cell.optimizer == "SparseAdam" else Dense()).double()
    parameters = list(net.parameters())
    with torch.no_grad():
        for parameter, weight in zip(parameters, step.before, strict=True):
            parameter.copy_(weight)
    window = batches()[index * cell.accumulate : (index + 1) * cell.accumulate]
    for inputs, targets in window:
        loss = nn.functional.mse_loss(net(inputs.double()), targets.double())
        (loss / cell.accumulate).backward()
    tolerance = 1e-12 if cell.precision == "64-true" else 1e-4
    wanted = [parameter.grad.to_dense() for parameter in parameters]
    largest = max(gradient.abs().max().item() for gradient in wanted)
    for gradient, given in zip(wanted, step.evaluations[0][1], strict=True):
        error = (given.to_dense().double().cpu() - gradient).abs().max().item() / largest
        if not error <= tolerance:
            return f"the gradient of step {index} is off by {error:.1e}"
    return ""


def _error(ours: Tensor, wanted: Tensor) -> float:
    """The largest difference relative to the largest value; what is not finite has to agree."""
    finite = wanted.isfinite()
    if not torch.equal(finite, ours.isfinite()):
        return math.inf
    if not finite.any():
        return 0.0
    difference: float = (ours.double() - wanted.double())[finite].abs().max().item()
    return difference / (wanted[finite].abs().max().item() or 1.0)


@functools.cache
def _without_dice(cell: Cell, device: str) -> Model | str:
    try:
        return fit(cell, None, device)
    except Exception as error:
        return str(error).split("\n")[0].split(". ")[0]


def _varies(cell: Cell, plain: Model, device: str) -> bool:
    """Whether training without dice comes out otherwise when it is done again, as compiled may."""
    return not all(_same(fit(cell, None, device).steps, plain.steps) for _ in range(5))


def _same(ours: list[Step], theirs: list[Step]) -> bool:
    return all(
        torch.equal(a.isnan(), b.isnan()) and torch.equal(a.nan_to_num(), b.nan_to_num())
        for mine, other in zip(ours, theirs, strict=True)
        for a, b in zip(mine.after, other.after, strict=True)
    )


@contextmanager
def quiet() -> Iterator[None]:
    """Lightning says much about every Trainer."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
