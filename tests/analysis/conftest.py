"""Run folders made by hand: everything that a training leaves, without a training."""

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from lightning_dice.records import RollRecord
from lightning_dice.rules import Outcome, Roller, SavingThrow

TASK = {
    "data": "python_docs",
    "model": "gpt",
    "optimizer": "adamw",
    "metric": "val_loss",
    "unit": "nats/byte",
    "mode": "min",
}
CONFIG = "task:\n  data: python_docs\n  model: gpt\nseed: 0\n"


def roll_records(throw, steps, seed=0, slots=1, batches=1, optimizers=1):
    """The records that a run of ``steps`` steps leaves; several optimizers step in turn."""
    rollers = [Roller(throw, seed, stream) for stream in range(optimizers)]
    places = [(s, b, slot) for s in range(steps) for b in range(batches) for slot in range(slots)]
    return [
        RollRecord(
            s,
            s * batches + b,
            s % optimizers,
            slot,
            *rollers[s % optimizers].roll(s * batches + b, slot),
        )
        for s, b, slot in places
    ]


def loss_curve(steps, start=5.55, end=1.9, every=10, seed=0):
    """Noisy training losses, and a validation loss every tenth of the run."""
    noise = np.random.default_rng(seed)
    rows = []
    for step in range(0, steps, every):
        loss = end + (start - end) * math.exp(-6 * step / steps)
        rows.append({"step": step, "train_loss": loss + 0.06 * noise.standard_normal()})
    for step in np.linspace(0, steps - 1, 11).round().astype(int)[1:]:
        loss = end + 0.03 + (start - end) * math.exp(-6 * step / steps)
        rows.append({"step": int(step), "val_loss": loss})
    return sorted(rows, key=lambda row: row["step"])


def write_metrics(path, rows):
    names = list(dict.fromkeys(name for row in rows for name in row if name != "step"))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["epoch", *names, "step"])
        writer.writeheader()
        writer.writerows({"epoch": 0, **row} for row in rows)


def write_rolls(path, records):
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([RollRecord._fields, *records])


def write_slots(path, rows):
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([("optimizer", "slot", "parameter"), *rows])


def luck_of(records, throw):
    chances = {o: float(p) for o, p in throw.odds().probability.items() if p}
    if not records:
        return None
    counts = [sum(r.outcome is o for r in records) for o in chances]
    return float(stats.chisquare(counts, [len(records) * p for p in chances.values()]).pvalue)


def build_run(
    folder, records=None, throw=None, steps=600, rows=None, dice=(), slots=None, **summary
):
    """Write a run's folder; ``summary`` and ``dice`` change what ``summary.json`` says.

    ``slots`` are the rows of ``slots.csv``, if there is to be one.
    """
    throw = throw or SavingThrow("d20", threshold=10)
    records = roll_records(throw, steps) if records is None else records
    rows = loss_curve(steps) if rows is None else rows
    odds = throw.odds()
    names = ("mean", "mean_square", "efficiency", "discard", "inverse", "forward")
    content = {
        "format": 1,
        "status": "finished",
        "error": None,
        "started": "2026-11-22T15:00:00+00:00",
        "wall_time": 71.2,
        "task": TASK,
        "steps": steps,
        "seed": 0,
        "dice": {
            **throw.settings(),
            "granularity": "per_accumulation_step",
            "target": "gradient",
            "scope": "model",
            "include": None,
            "exclude": None,
            "seed": 0,
            **dict(dice),
        },
        "odds": {name: float(getattr(odds, name)) for name in names}
        | {"probability": {str(o): float(p) for o, p in odds.probability.items()}},
        "rolls": {
            "count": len(records),
            "outcomes": {str(o): sum(r.outcome is o for r in records) for o in Outcome},
            "mean_scale": sum(r.scale or 0 for r in records) / len(records) if records else None,
            "luck": luck_of(records, throw),
        },
        "metrics": {"val_loss": 1.93, "train_loss": 1.9},
        "baseline": {"name": "bigram", "value": 2.32},
        "versions": {"lightning_dice": "0.1.0", "torch": "2.13.0", "python": "3.11.2"},
        **summary,
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "summary.json").write_text(json.dumps(content), encoding="utf-8")
    (folder / "config.yaml").write_text(CONFIG, encoding="utf-8")
    write_metrics(folder / "metrics.csv", rows)
    write_rolls(folder / "rolls.csv", records)
    if slots is not None:
        write_slots(folder / "slots.csv", slots)
    return folder


def as_own_training(folder, **parts):
    """Turn a run's folder into one that dice leave beside the logger of somebody's own Trainer.

    ``parts`` change what ``saving_throw.json`` says.
    """
    summary = json.loads((folder / "summary.json").read_text("utf-8"))
    kept = ("format", "status", "started", "steps", "seed", "dice", "odds", "rolls", "versions")
    content = {
        **{key: summary[key] for key in kept},
        "task": {"model": "Classifier", "data": None, "optimizer": "SGD"},
        "optimizers": [{"name": "SGD", "response": "linear"}],
        **parts,
    }
    (folder / "saving_throw.json").write_text(json.dumps(content), encoding="utf-8")
    (folder / "summary.json").unlink()
    (folder / "config.yaml").unlink()
    return folder


@pytest.fixture
def make_own(make_run):
    """Makes the folder of somebody's own training: see ``as_own_training``."""

    def make(name="version_0", parts=(), **run):
        return as_own_training(make_run(name, **run), **dict(parts))

    return make


@pytest.fixture
def make_run(tmp_path):
    """Makes a run's folder: see ``build_run``."""
    return lambda name="run", **parts: build_run(Path(tmp_path) / name, **parts)


@pytest.fixture
def rolled():
    """The records of so many steps: see ``roll_records``."""
    return lambda steps, throw=None, **more: roll_records(throw or SavingThrow(), steps, **more)


@pytest.fixture
def record():
    """One record with the scale and outcome that a test wants."""

    def make(step=0, scale=0.5, outcome=Outcome.SUCCESS, batch=None, slot=0):
        return RollRecord(step, step if batch is None else batch, 0, slot, 10, 10, outcome, scale)

    return make
