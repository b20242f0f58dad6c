"""Trains a pack: many runs of one regime and base optimizer, side by side in one process."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from arms import Arm
from corpora import Data, Part
from factors import factors_of
from optimizers import BASES, Alignment, PackedOptimizer, Rolled, clipped
from regimes import Regime
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - its usual name

from lightning_dice.app.models.base import warmup_cosine

WARMUP = 0.1
"""Share of the steps over which the learning rate rises."""
TENTHS = 10
"""Evaluations in a training."""


@dataclass(frozen=True)
class Run:
    """One training.

    Attributes:
        arm: What is done to its steps.
        lr: The learning rate, before the arm's own factor.
        seed: Of weights, examples and dropout.
        dice_seed: Of the dice.
    """

    arm: Arm
    lr: float
    seed: int
    dice_seed: int


@dataclass(frozen=True)
class How:
    """How it is computed; none of it is part of the experiment.

    Attributes:
        bf16: Whether products are of bfloat16 numbers, on any device.
        chunk: Examples of all runs together that are evaluated at once.
    """

    bf16: bool = False
    chunk: int = 4096


class Scores(NamedTuple):
    """Mean loss and accuracy on a part of the data, each ``(N,)``."""

    loss: Tensor
    accuracy: Tensor


class Evaluation(NamedTuple):
    """What is seen along the way."""

    step: int
    val: Scores
    train_loss: Tensor


class Schedule:
    """What was decided for all steps of a pack before the first: learning rates and rolls.

    Args:
        runs: Of the pack, of as many steps each.
        chosen: Which tensors are hidden ones.
        steps: How many.
        device: Where it is needed.
    """

    def __init__(
        self, runs: Sequence[Run], chosen: Sequence[bool], steps: int, device: torch.device
    ) -> None:
        shape = [warmup_cosine(step, steps, WARMUP) for step in range(steps)]
        rates = np.outer(shape, [run.arm.lr_factor * run.lr for run in runs])
        self.lr = torch.from_numpy(rates).float().to(device)
        rolled = [factors_of(run.arm, chosen, run.dice_seed, steps) for run in runs]
        width = max(factors.shape[1] for factors in rolled)
        factors = np.stack([np.broadcast_to(f, (steps, width)) for f in rolled], axis=1)
        on_gradient = np.array([run.arm.target == "gradient" for run in runs])[:, None]
        scales = np.nan_to_num(factors)
        self._gradient = _unless_one(np.where(on_gradient, scales, 1.0), device)
        self._update = _unless_one(np.where(on_gradient, 1.0, scales), device)
        keep = ~(np.isnan(factors) & on_gradient)
        self._keep = None if keep.all() else torch.from_numpy(keep).to(device)

    def rolled(self, step: int) -> Rolled:
        """What was rolled for a step."""
        tables = (self._gradient, self._update, self._keep)
        return Rolled(*(None if table is None else table[step] for table in tables))


def train(
    regime: Regime,
    base: str,
    runs: Sequence[Run],
    device: torch.device | str,
    *,
    data: Data | None = None,
    how: How = How(),
    watch: Callable[[int, Tensor], None] | None = None,
) -> list[dict[str, Any]]:
    """Train a pack.

    Args:
        regime: What is trained on, and how long.
        base: The base optimizer's name.
        runs: Arms, learning rates and seeds; all have the same number of steps.
        device: Where.
        data: The regime's, if it has been read.
        how: How it is computed.
        watch: Called with the number of each step that is through, and the weights, a run a row.

    Returns:
        A row for each run.
    """
    device = torch.device(device)
    data = (regime.load() if data is None else data).to(device)
    pack = Pack(regime, base, runs, device, data, how)
    return pack.train(watch)


def steps_of(regime: Regime, run: Run) -> int:
    """The steps of a run."""
    return run.arm.steps(regime.steps)


class Pack:
    """A pack that is being trained.

    Args:
        regime: As in ``train``, as are the following.
        base: The base optimizer's name.
        runs: Of the pack.
        device: Where.
        data: On that device.
        how: How it is computed.

    Raises:
        ValueError: If the runs differ in their number of steps.
    """

    def __init__(
        self,
        regime: Regime,
        base: str,
        runs: Sequence[Run],
        device: torch.device,
        data: Data,
        how: How,
    ) -> None:
        lengths = {steps_of(regime, run) for run in runs}
        if len(lengths) != 1:
            raise ValueError(f"runs of a pack have the same number of steps, not {sorted(lengths)}")
        self.regime, self.base, self.runs, self.data, self.how = regime, base, runs, data, how
        self.steps = lengths.pop()
        self.device = device
        self.network = regime.network
        layout = self.network.layout
        hidden = layout.chosen(self.network.hidden)
        self.schedule = Schedule(runs, hidden, self.steps, device)
        self.optimizer = self._optimizer(hidden)
        seeds = {run.seed for run in runs}
        rows = {seed: self.network.initial(seed) for seed in seeds}
        self.weights = torch.stack([rows[run.seed] for run in runs]).to(device).requires_grad_()
        orders = {seed: regime.order(data.train, seed, self.steps) for seed in seeds}
        self.order = torch.stack([orders[run.seed] for run in runs], dim=1).to(device)
        self._dropout = [torch.Generator(device).manual_seed(run.seed) for run in runs]
        self._keep = [1 - run.arm.dropout for run in runs]

    def _optimizer(self, hidden: list[bool]) -> PackedOptimizer:
        kind = BASES[self.base]
        own = [run.arm.weight_decay for run in self.runs]
        decay = torch.tensor([kind.default_decay if d is None else d for d in own])
        magma = torch.tensor([run.arm.magma for run in self.runs])
        layout = self.network.layout
        alignment = Alignment(layout, hidden, magma.to(self.device)) if magma.any() else None
        some = decay.to(self.device) if decay.any() else None
        return kind(layout, len(self.runs), some, alignment)

    def train(self, watch: Callable[[int, Tensor], None] | None) -> list[dict[str, Any]]:
        """All steps, then a row for each run."""
        if self.device.type == "cuda":
            torch.set_float32_matmul_precision("high")
        stops = [round(self.steps * tenth / TENTHS) for tenth in range(TENTHS + 1)]
        seen: list[Evaluation] = []
        best = self.weights.detach().clone()
        least = torch.full((len(self.runs),), math.inf, dtype=torch.double, device=self.device)
        for start, stop in pairwise(stops):
            total = torch.zeros(len(self.runs), device=self.device)
            for step in range(start, stop):
                total += self.step(step)
                if watch is not None:
                    watch(step, self.weights.detach())
            if stop == start:
                continue
            val = self.scores(self.weights, self.data.val)
            seen.append(Evaluation(stop, val, total / (stop - start)))
            value = self._value(val)
            better = value < least
            least = torch.where(better, value, least)
            best = torch.where(better.unsqueeze(1), self.weights.detach(), best)
        final = self.scores(self.weights, self.data.test)
        return self._rows(seen, final, self.scores(best, self.data.test))

    def _value(self, scores: Scores) -> Tensor:
        """What a regime is measured by, less being better; infinite where training diverged."""
        value = -scores.accuracy if self.regime.labelled else scores.loss
        return torch.where(scores.loss.isfinite(), value, math.inf)

    def step(self, step: int) -> Tensor:
        """Train one step; gives back the losses before it."""
        batch = self.regime.take(self.data.train, self.order[step])
        masks = None
        if any(keep < 1 for keep in self._keep):
            masks = self.network.drawn_masks(self.regime.batch, self._dropout, self._keep)
        losses = self._losses(self.weights, batch.inputs, batch.targets, masks)
        (grads,) = torch.autograd.grad(losses.sum(), self.weights)
        self.optimizer.step(
            self.weights, clipped(grads), self.schedule.lr[step], self.schedule.rolled(step)
        )
        return losses.detach()

    def _logits(self, weights: Tensor, inputs: Tensor, masks: Sequence[Tensor] | None) -> Tensor:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.how.bf16):
            views = self.network.layout.views(weights)
            return self.network.forward(views, inputs, masks).float()

    def _losses(
        self, weights: Tensor, inputs: Tensor, targets: Tensor, masks: Sequence[Tensor] | None
    ) -> Tensor:
        """Mean cross-entropy of each run, ``(N,)``."""
        logits = self._logits(weights, inputs, masks).flatten(0, 1)
        losses = F.cross_entropy(logits, targets.flatten(), reduction="none")
        return losses.view(len(weights), -1).mean(dim=1)

    @torch.no_grad()
    def scores(self, weights: Tensor, part: Part) -> Scores:
        """What the runs come to on a part of the data."""
        where = self.regime.evaluated(part).to(self.device)
        runs = len(weights)
        loss, right = torch.zeros(2, runs, dtype=torch.double, device=self.device)
        count = 0
        for chunk in where.split(max(1, self.how.chunk // runs)):
            inputs, targets = self.regime.take(part, chunk.unsqueeze(0))
            logits = self._logits(weights, inputs.expand(runs, *inputs.shape[1:]), None)
            targets = targets.expand(runs, -1)
            flat = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none")
            loss += flat.view(runs, -1).sum(dim=1)
            right += (logits.argmax(dim=-1) == targets).sum(dim=1)
            count += targets.shape[1]
        return Scores(loss / count, right / count)

    def _rows(self, seen: list[Evaluation], final: Scores, at_best: Scores) -> list[dict[str, Any]]:
        labelled = self.regime.labelled
        curves = torch.stack([torch.stack((*e.val, e.train_loss.double())) for e in seen])
        ends = torch.stack((*final, *at_best))
        whole = self.weights.detach().isfinite().all(dim=1)
        measured = (lambda point: -point[2]) if labelled else (lambda point: point[1])
        rows = []
        for index, run in enumerate(self.runs):
            curve = [
                (e.step, *_finite(loss, accuracy if labelled else math.nan, trained))
                for e, (loss, accuracy, trained) in zip(
                    seen, curves[..., index].tolist(), strict=True
                )
            ]
            test, accuracy, best_test, best_accuracy = _finite(*ends[:, index].tolist())
            there = [point for point in curve if point[1] is not None]
            best = min(there, key=measured) if there else (None, None, None, None)
            row = {
                "regime": self.regime.name,
                "base": self.base,
                "arm": run.arm.name,
                "lr": run.lr,
                "seed": run.seed,
                "dice_seed": run.dice_seed,
                "steps": self.steps,
                "diverged": not bool(whole[index]) or curve[-1][1] is None,
                "val_loss": curve[-1][1],
                "val_accuracy": curve[-1][2],
                "train_loss": curve[-1][3],
                "test_loss": test,
                "test_accuracy": accuracy if labelled else None,
                "best_step": best[0],
                "best_val_loss": best[1],
                "best_val_accuracy": best[2],
                "best_test_loss": best_test if there else None,
                "best_test_accuracy": best_accuracy if labelled and there else None,
                "curve": curve,
            }
            rows.append(row)
        return rows


def _unless_one(table: np.ndarray, device: torch.device) -> Tensor | None:
    return None if (table == 1).all() else torch.from_numpy(table).float().to(device)


def _finite(*values: float) -> list[float | None]:
    """To six digits, which are more than two machines agree on; ``None`` for what is no number."""
    return [float(f"{value:.6g}") if math.isfinite(value) else None for value in values]
