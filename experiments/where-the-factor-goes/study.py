"""Measures what becomes of a roll's factor on its way to the weights.

One step is taken from the same moment of training again and again, each time with another factor in
another place, and its displacement of the weights is compared with that of the full step.
"""

from __future__ import annotations

import copy
import csv
import datetime
import json
import logging
import platform
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, get_args

import click
import torch
from figure import Row, draw_figure
from lightning.pytorch import Callback, LightningModule, Trainer, seed_everything
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - its usual name
from torch.optim import SGD, AdamW, Optimizer
from torch.utils.data import DataLoader

from lightning_dice import SavingThrow, SavingThrowCallback
from lightning_dice.steps import Target

HERE = Path(__file__).parent
IMAGE = HERE.parents[1] / "docs" / "images" / "where-the-factor-goes.png"

SCALES = (-1.0, -0.75, -0.5, -0.25, 0.0, 0.25, 0.5, 0.75, 1.0)
BATCH = 32
WARM_UP = 50
"""Plain steps before anything is measured, so that the optimizer has a history."""
DISCARDS = 20
CLIP = 0.1
"""Largest norm of a clipped gradient: small, so that it binds for all scales but 0."""

Batches = list[tuple[Tensor, Tensor]]
Make = Callable[[Iterable[nn.Parameter]], Optimizer]

OPTIMIZERS: dict[str, Make] = {
    "AdamW": lambda parameters: AdamW(parameters, lr=1e-3),
    "SGD": lambda parameters: SGD(parameters, lr=0.1),
    "momentum SGD": lambda parameters: SGD(parameters, lr=0.05, momentum=0.9, weight_decay=1e-3),
}


@dataclass(frozen=True)
class Moment:
    """Where a training stands."""

    weights: dict[str, Tensor]
    state: dict[str, Any]

    @classmethod
    def of(cls, model: LightningModule, optimizer: Optimizer) -> Moment:
        """A copy of what there is now."""
        return cls(copy.deepcopy(model.state_dict()), copy.deepcopy(optimizer.state_dict()))


class Classifier(LightningModule):
    """An ordinary module; it starts at a moment, if it is given one."""

    def __init__(self, make: Make, start: Moment | None = None) -> None:
        super().__init__()
        self.make, self.start = make, start
        self.net = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
        if start:
            self.load_state_dict(start.weights)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """The loss of a batch."""
        return F.cross_entropy(self.net(batch[0]), batch[1])

    def configure_optimizers(self) -> Optimizer:
        """The optimizer, with the history it had."""
        optimizer = self.make(self.parameters())
        if self.start:
            optimizer.load_state_dict(copy.deepcopy(self.start.state))
        return optimizer


class Naive(Callback):
    """Multiplies gradients in the hook before the optimizer's step; a discard is times 0."""

    def __init__(self, scales: Sequence[float]) -> None:
        self.scales = scales

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer
    ) -> None:
        """Scale every gradient."""
        for parameter in pl_module.parameters():
            if parameter.grad is not None:
                parameter.grad.mul_(self.scales[trainer.global_step])


class Recorder(Callback):
    """Keeps the moment before the first step and after every step."""

    def __init__(self) -> None:
        self.moments: list[Moment] = []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep the start."""
        self.moments.append(Moment.of(pl_module, trainer.optimizers[0]))

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """Keep where a step led."""
        self.moments.append(Moment.of(pl_module, trainer.optimizers[0]))


def train(
    model: LightningModule,
    batches: Batches,
    dice: Callback | None = None,
    clip: float | None = None,
) -> list[Moment]:
    """Train on ``batches``, one step each, and return the moments on the way."""
    recorder = Recorder()
    Trainer(
        callbacks=[dice, recorder] if dice else [recorder],
        max_epochs=1,
        gradient_clip_val=clip,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    ).fit(model, DataLoader(batches, batch_size=None))  # type: ignore[arg-type] # a list will do
    return recorder.moments


def constant(scale: float | None, target: Target) -> SavingThrowCallback:
    """This kit with a die that has the same factor on every face; ``None`` is a discard."""
    throw = SavingThrow("d4", threshold=2, scaling=[scale] * 4)
    return SavingThrowCallback(throw, target=target, seed=0)


def arms(scale: float | None, steps: int = 1) -> dict[str, Callback]:
    """The three ways to apply one factor."""
    return {
        "naive": Naive([scale or 0.0] * steps),
        "gradient": constant(scale, "gradient"),
        "update": constant(scale, "update"),
    }


def displacement(start: Moment, end: Moment) -> Tensor:
    """From where to where all weights went, as one vector."""
    parts = [end.weights[name].double() - w.double() for name, w in start.weights.items()]
    return torch.cat([part.flatten() for part in parts])


def share(start: Moment, end: Moment, full: Moment) -> float:
    """How much of the full step was made: its displacement projected on that of the full one."""
    made, whole = displacement(start, end), displacement(start, full)
    return float(made @ whole / (whole @ whole))


def differing(before: Iterable[Tensor], after: Iterable[Tensor]) -> int:
    """How many numbers are not the same to the last bit."""
    pairs = zip(before, after, strict=True)
    return sum(int((a.view(torch.int32) != b.view(torch.int32)).sum()) for a, b in pairs)


def state_tensors(moment: Moment) -> list[Tensor]:
    """All that the optimizer remembers: moments, momentum, step counts."""
    return [value for entry in moment.state["state"].values() for value in entry.values()]


@cache
def load() -> tuple[Tensor, Tensor]:
    """Images of handwritten digits with their labels."""
    digits = load_digits()
    return torch.tensor(digits.data / 16, dtype=torch.float32), torch.tensor(digits.target)


def data(seed: int, steps: int) -> Batches:
    """Batches, epoch after epoch in an order of the seed's own."""
    images, labels = load()
    generator = torch.Generator().manual_seed(seed)
    epochs = -(-steps * BATCH // len(labels))
    order = torch.cat([torch.randperm(len(labels), generator=generator) for _ in range(epochs)])
    return [(images[part], labels[part]) for part in torch.split(order, BATCH)[:steps]]


@cache
def warm_up(name: str, seed: int) -> list[Moment]:
    """Plain training from its very start."""
    seed_everything(seed, verbose=False)
    return train(Classifier(OPTIMIZERS[name]), data(seed, WARM_UP))


def one_step(case: str, name: str, seed: int, clip: float | None = None) -> Iterator[Row]:
    """How much of the full step is made, by scale: the same step from the same moment each time."""
    make, start = OPTIMIZERS[name], warm_up(name, seed)[-1]
    batch = data(seed, WARM_UP + 1)[WARM_UP:]
    full = train(Classifier(make, start), batch, clip=clip)[-1]
    for scale in SCALES:
        for arm, dice in arms(scale).items():
            end = train(Classifier(make, start), batch, dice, clip)[-1]
            yield Row(case, name, arm, seed, 0, scale, "share", share(start, end, full))


def every_step(name: str, seed: int, scale: float) -> Iterator[Row]:
    """How far training gets from its very start when all steps have one factor.

    In units of how far plain training gets with as many steps.
    """
    make, plain = OPTIMIZERS[name], warm_up(name, seed)
    start, whole = plain[0], displacement(plain[0], plain[-1]).norm()
    for arm, dice in arms(scale, WARM_UP).items():
        end = train(Classifier(make, start), data(seed, WARM_UP), dice)[-1]
        moved = float(displacement(start, end).norm() / whole)
        yield Row("every step", name, arm, seed, WARM_UP, scale, "distance", moved)


def d20_run(name: str, seed: int, steps: int) -> Iterator[Row]:
    """How much of the full step is made in each step of a run with a real d20.

    The full step is the one that the optimizer would have made from the same moment.
    """
    make, start = OPTIMIZERS[name], warm_up(name, seed)[-1]
    batches = data(seed, WARM_UP + steps)[WARM_UP:]
    throw = SavingThrow("d20", threshold=10)
    dice = {t: SavingThrowCallback(throw, target=t, seed=seed) for t in get_args(Target)}
    paths = {t: train(Classifier(make, start), batches, dice[t]) for t in dice}
    scales = [roll.scale for roll in dice["update"].rolls.recent]
    naive = Naive([scale or 0.0 for scale in scales])
    paths["naive"] = train(Classifier(make, start), batches, naive)
    for arm, path in paths.items():
        for step, scale in enumerate(scales):
            full = train(Classifier(make, path[step]), batches[step : step + 1])[-1]
            made = share(path[step], path[step + 1], full)
            yield Row("d20 run", name, arm, seed, step, scale, "share", made)


def discards(name: str, seed: int, steps: int = DISCARDS) -> Iterator[Row]:
    """How far weights move while every step is discarded, in units of one plain step."""
    make, start = OPTIMIZERS[name], warm_up(name, seed)[-1]
    batches = data(seed, WARM_UP + steps)[WARM_UP:]
    paths = {
        arm: train(Classifier(make, start), batches, d) for arm, d in arms(None, steps).items()
    }
    plain = train(Classifier(make, start), batches)
    unit = displacement(start, plain[1]).norm()
    for arm, path in {"plain": plain, **paths}.items():
        for step, moment in enumerate(path):
            moved = float(displacement(start, moment).norm() / unit)
            yield Row("discards", name, arm, seed, step, None, "distance", moved)
        numbers = {
            "weights changed": differing(start.weights.values(), path[-1].weights.values()),
            "state changed": differing(state_tensors(start), state_tensors(path[-1])),
        }
        for quantity, count in numbers.items():
            yield Row("discards", name, arm, seed, steps, None, quantity, count)


def measure(seeds: int, rolls: int) -> Iterator[Row]:
    """Everything."""
    for seed in range(seeds):
        yield from one_step("one step", "AdamW", seed)
        yield from one_step("one step", "momentum SGD", seed)
        yield from one_step("one step", "SGD", seed)
        yield from one_step("one step, clipped", "SGD", seed, clip=CLIP)
        yield from every_step("AdamW", seed, 0.25)
        yield from every_step("momentum SGD", seed, 0.25)
        yield from discards("AdamW", seed)
        yield from discards("momentum SGD", seed)
    yield from d20_run("AdamW", seed=0, steps=rolls)


def about(seconds: float, **settings: int) -> dict[str, Any]:
    """What the numbers were measured on."""
    packages = ("lightning-dice", "torch", "lightning", "numpy", "scikit-learn", "matplotlib")
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "seconds": round(seconds),
        "settings": {**settings, "warm_up": WARM_UP, "discards": DISCARDS, "clip": CLIP},
        "machine": f"{platform.system()} {platform.machine()}, one core",
        "versions": {"python": platform.python_version(), **{p: version(p) for p in packages}},
    }


@click.command()
@click.option("--out", type=click.Path(path_type=Path), help="Folder for all files.")
@click.option("--seeds", default=5, show_default=True, help="Initial weights and orders of data.")
@click.option(
    "--rolls",
    type=click.IntRange(1, 1000),
    default=100,
    show_default=True,
    help="Steps of the run with a d20.",
)
def main(out: Path | None, seeds: int, rolls: int) -> None:
    """Measure, write results.csv and results.json, and draw the figure."""
    torch.set_num_threads(1)
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    # Rolls without a signal are what is measured, and the batches are in memory; the last is what
    # Lightning says of itself.
    warnings.filterwarnings("ignore", "d4, threshold 2, own table")
    warnings.filterwarnings("ignore", ".*does not have many workers")
    warnings.filterwarnings("ignore", ".*LeafSpec.* is deprecated")
    begun = time.perf_counter()
    rows = list(measure(seeds, rolls))
    facts = about(time.perf_counter() - begun, seeds=seeds, rolls=rolls)
    folder, image = (out, out / IMAGE.name) if out else (HERE, IMAGE)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "results.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(Row._fields)
        writer.writerows((*row[:-1], f"{row.value:.9g}") for row in rows)
    (folder / "results.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    image.write_bytes(draw_figure(rows))
    click.echo(f"{len(rows)} numbers in {facts['seconds']} s: {folder / 'results.csv'}, {image}")


if __name__ == "__main__":
    main()
