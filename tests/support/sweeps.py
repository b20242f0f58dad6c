"""Sweeps made by hand: the summaries and metrics of many runs, without a training."""

import csv
import json
import math
from functools import cache
from html.parser import HTMLParser

from lightning_dice.rules import SavingThrow

VERSIONS = {"lightning_dice": "0.1.0", "torch": "2.13.0", "python": "3.11.2"}
OPTIMIZERS = {
    "sgd": {"_target_": "torch.optim.SGD", "lr": 0.1, "momentum": 0.9},
    "adamw": {"_target_": "torch.optim.AdamW", "lr": 0.001, "betas": [0.9, 0.99]},
    "pure_sgd": {"_target_": "torch.optim.SGD", "lr": 0.3, "momentum": 0.0},
    "rmsprop": {"_target_": "torch.optim.RMSprop", "lr": 0.003},
    "adafactor": {"_target_": "torch.optim.Adafactor", "lr": 0.01},
    "muon": {"_target_": "mine.Muon", "lr": 0.03},
}
ACCURACY = {"metric": "val_accuracy", "unit": "share right", "mode": "max"}
LOSS = {"metric": "val_loss", "unit": "nats/byte", "mode": "min"}
ODDS = ("mean", "mean_square", "efficiency", "discard", "inverse", "forward")


@cache
def odds_of(throw):
    odds = throw.odds()
    return {name: float(getattr(odds, name)) for name in ODDS} | {
        "probability": {str(o): float(p) for o, p in odds.probability.items()}
    }


def summary_of(
    final,
    seed=0,
    control="none",
    throw=None,
    target="gradient",
    scope="model",
    optimizer="sgd",
    task=ACCURACY,
    settings=(),
    dice=(),
    baseline=0.1,
    **more,
):
    """What ``summary.json`` holds of one run; ``more`` replaces parts of it."""
    throw = throw or SavingThrow("d20", 10)
    place = {
        "granularity": "per_accumulation_step",
        "target": target,
        "scope": scope,
        "include": None,
        "exclude": None,
        "ranks": "shared",
        **dict(dice),
    }
    rolled = SavingThrow("d2", 1, [1, 1]) if control.startswith("plain") else throw
    flat = {
        "seed": seed,
        "control": control,
        **{f"saving_throw.{name}": value for name, value in throw.settings().items()},
        **{f"dice.{name}": value for name, value in place.items()},
        "dice.seed": seed,
        **{f"optimizer.{name}": value for name, value in OPTIMIZERS[optimizer].items()},
        "model.channels": 32,
        "trainer.max_steps": 300,
        **dict(settings),
    }
    with_throw = control != "plain"
    return {
        "format": 1,
        "status": "finished",
        "error": None,
        "started": "2026-11-22T15:00:00+00:00",
        "wall_time": 71.2,
        "task": {"data": "digits", "model": "cnn", "optimizer": optimizer, **task},
        "steps": 300,
        "seed": seed,
        "settings": flat,
        "control": {
            "name": control,
            "of": throw.settings() if with_throw else None,
            "odds": odds_of(throw) if with_throw else None,
            "lr_factor": 1.0,
        },
        "dice": {**rolled.settings(), **place, "seed": seed},
        "odds": odds_of(rolled),
        "metrics": {task["metric"]: final, "train_loss": 0.3},
        "baseline": {"name": "majority", "value": baseline, "metric": task["metric"]},
        "versions": VERSIONS,
        **more,
    }


def write_run(folder, summary, points=10):
    """Write a run's folder: its summary, and metrics that climb or fall to the final value."""
    folder.mkdir(parents=True)
    (folder / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    metric = summary["task"]["metric"]
    start, final = summary["baseline"]["value"] or 0.0, summary["metrics"].get(metric)
    with (folder / "metrics.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["epoch", "step", "train_loss", metric])
        for i in range(1, points + 1):
            step = i * 300 // points - 1
            writer.writerow([0, step - 1 if points < 100 else step, 0.5, ""])
            end = math.nan if final is None else final
            writer.writerow([0, step, "", end + (start - end) * math.exp(-5 * i / points)])
    return folder


class Folder:
    """A sweep's folder that grows by runs in numbered folders."""

    def __init__(self, path):
        self.path = path
        self.path.mkdir()
        self.count = 0

    def add(self, final, seed=0, name=None, points=10, **more):
        """One run: ``more`` is what ``summary_of`` takes."""
        folder = self.path / (name or f"{self.count:03}")
        self.count += 1
        return write_run(folder, summary_of(final, seed, **more), points)

    def arm(self, finals, **more):
        """A run for each value, with seeds from 0 on."""
        return [self.add(final, seed, **more) for seed, final in enumerate(finals)]

    def load(self):
        """The sweep with its statistics."""
        from lightning_dice.analysis.sweep import Sweep
        from lightning_dice.analysis.sweep.results import Results

        return Results.of(Sweep.load([self.path]))


class Page(HTMLParser):
    def __init__(self):
        super().__init__()
        self.elements, self.words, self.open = [], [], []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in {"meta", "img"}:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())

    def all(self, tag):
        return [attrs for name, attrs in self.elements if name == tag]
