"""What dice cost on a processor: ``make bench``, under five minutes.

    python benchmarks/cpu.py [--out benchmarks/results/cpu.json]

A tiny model in Lightning, so that whatever a callback does in Python shows; everything is on: rolls
are recorded in ``rolls.csv`` and metrics logged every 50 steps. Then what an import and a command
take, and how fast rolls are drawn.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import torch
from lightning.pytorch import Callback, LightningModule
from peers import WAYS, dice
from ratios import alone, in_turns, ratios, show, write
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from training import Rows, fit

from lightning_dice import SavingThrow
from lightning_dice.rules import Roller

SKIP = SavingThrow("d20", threshold=10, scaling="skip")


class Tiny(LightningModule):
    """A classifier that leaves a processor little to do beside Lightning itself."""

    def __init__(self, width: int = 128, depth: int = 3) -> None:
        super().__init__()
        torch.manual_seed(0)
        hidden = [part for _ in range(depth) for part in (nn.Linear(width, width), nn.ReLU())]
        self.net = nn.Sequential(nn.Linear(64, width), nn.ReLU(), *hidden, nn.Linear(width, 10))

    def training_step(self, batch, batch_idx):
        loss = nn.functional.cross_entropy(self.net(batch[0]), batch[1])
        self.log("train_loss", loss)
        return loss

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=1e-4)


def batches() -> DataLoader:
    """Sixty-four batches of 64 rows."""
    inputs = torch.randn(64 * 64, 64, generator=torch.Generator().manual_seed(1))
    return DataLoader(TensorDataset(inputs, inputs[:, :10].argmax(1)), batch_size=64)


def train(pass_on: Callable[[], None], callbacks: Callable[[], list[Callback]], **more) -> None:
    """Train the tiny model, a turn every few steps, for as long as there are turns."""
    fit(Tiny(), batches(), pass_on, callbacks(), accelerator="cpu", **more)


def trainings(ways: Mapping[str, Callable[[], list[Callback]]], rounds: int, **more) -> Rows:
    """The tiny model, trained in all these ways."""
    taking = {name: partial(train, callbacks=callbacks, **more) for name, callbacks in ways.items()}
    return ratios(in_turns(taking, rounds))


def yardstick(rounds: int) -> Rows:
    """Lightning's own clipping, which also touches every gradient."""
    taking = {
        "plain": partial(train, callbacks=list),
        "Lightning's clipping by norm": partial(train, callbacks=list, gradient_clip_val=1.0),
    }
    return ratios(in_turns(taking, rounds))


def skipping(rounds: int) -> Rows:
    """Discarded updates left out; turns are long, as what is left out comes by chance."""
    ways = {
        "plain": list,
        "margin, skip_discarded": dice(skip_discarded=True),
        "skip, skip_discarded": dice(SKIP, skip_discarded=True),
    }
    return trainings(ways, rounds, steps=100)


def started(code: Sequence[str]) -> Callable[[], float]:
    """Starts a new interpreter that runs some code."""

    def seconds() -> float:
        begun = time.perf_counter()
        subprocess.run([sys.executable, *code], check=True, capture_output=True, timeout=60)
        return time.perf_counter() - begun

    return seconds


def starts(rounds: int) -> Rows:
    """What importing the package, and its quickest command, take beside Python itself."""
    ways = {
        "plain": started(["-c", "pass"]),
        "import lightning_dice": started(["-c", "import lightning_dice"]),
        "lightning-dice odds": started(
            ["-c", "from lightning_dice.cli import main; main(['odds'])"]
        ),
    }
    return ratios(alone(ways, rounds))


def rolls_a_second(rounds: int = 9) -> float:
    """Naturals drawn in blocks by one core, in the median of some rounds."""
    roller, many = Roller(SavingThrow("d20"), seed=0), 2**20
    rates = []
    for turn in range(rounds):
        begun = time.perf_counter()
        roller.naturals(turn * many, many)
        rates.append(many / (time.perf_counter() - begun))
    return sorted(rates)[rounds // 2]


def main() -> None:
    """Measure, show, and write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "cpu.json")
    parser.add_argument("--rounds", type=int, default=1000, help="turns of every training")
    given = parser.parse_args()
    torch.set_num_threads(1)
    rounds = given.rounds

    results = {"training": trainings(WAYS, rounds), "yardstick": yardstick(rounds // 2)}
    show("A tiny model in Lightning, a step a turn", results["training"])
    show("The same", results["yardstick"])
    results["skip_discarded"] = skipping(rounds // 50)
    show("The same, 100 steps a turn", results["skip_discarded"])
    results["starts"] = starts(max(rounds // 50, 5))
    show("New processes, and Python's own", results["starts"])
    results["rolls_a_second"] = rolls_a_second()
    print(f"{results['rolls_a_second'] / 1e6:.1f} million rolls a second on one core")
    write(given.out, f"python benchmarks/cpu.py --rounds {rounds}", results)


if __name__ == "__main__":
    main()
