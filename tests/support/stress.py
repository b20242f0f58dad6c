"""Runs with made-up records: what ``lightning-dice stress`` leaves, without a model."""

import json

from lightning_dice.analysis.stress import Stress
from lightning_dice.analysis.stress.record import read_record
from lightning_dice.analysis.sweep.find import LeftOut, find_runs
from lightning_dice.analysis.sweep.gather import Sweep
from support.sweeps import LOSS, Folder

KINDS = {"images": ("noise", "blur"), "text": ("swaps", "deletions")}
STRENGTHS = (0.1, 0.2, 0.4)
RADII = {"sam": (0.01, 0.05, 0.2), "adaptive": (0.1, 0.5, 2.0)}


def row(probe, kind, strength, metric, value, **more):
    keys = ("probe", "kind", "strength", "metric", "value")
    return dict(zip(keys, (probe, kind, strength, metric, value), strict=True)) | more


def rows_of(worth, flat=1.0, kinds=KINDS["images"]):
    """All measures of a model with that accuracy, which falls by as much as it is disturbed."""
    found = [
        row("clean", "", None, "accuracy", worth),
        row("clean", "", None, "loss", 2 - worth),
        row("calibration", "", None, "calibration error", (1 - worth) / 2),
        row("calibration", "", None, "confidence", worth / 2),
        row("curvature", "eigenvalue", 1, "eigenvalue", 20 * flat),
        row("curvature", "eigenvalue", 2, "eigenvalue", 10 * flat),
        row("curvature", "trace", None, "trace", 100 * flat, se=3.0),
    ]
    for kind in ("bf16", "int8"):
        found.append(row("rounding", kind, None, "accuracy", worth - 0.01))
        found.append(row("rounding", kind, None, "loss", 2.01 - worth))
    for strength in STRENGTHS:
        for kind in kinds:
            found.append(row("corruption", kind, strength, "accuracy", worth - strength))
            found.append(row("corruption", kind, strength, "loss", 2 - worth + strength))
        noisy = worth - strength / 2
        found.append(row("weight noise", "gaussian", strength, "accuracy", noisy, se=0.01))
        found.append(row("weight noise", "gaussian", strength, "loss", 2 - noisy, se=0.01))
    for kind, radii in RADII.items():
        found += [row("worst case", kind, r, "loss increase", flat * r**1.5) for r in radii]
    return found


def write_record(folder, rows, **more):
    record = {
        "format": 1,
        "lightning_dice": "0.1.0",
        "settings": {"examples": None, "seed": 0, "checkpoint": "last", "sha256": "0"},
        "device": "cpu",
        "data": "images",
        "examples": 359,
        "measures": rows,
        "omissions": [],
        "notes": [],
        **more,
    }
    (folder / "stress.json").write_text(json.dumps(record), encoding="utf-8")


class Measured(Folder):
    """A sweep's folder that grows by runs with a record of what they are worth."""

    def add(self, final, seed=0, flat=1.0, rows=None, record=(), **more):
        folder = super().add(final, seed, **more)
        kinds = KINDS["text" if more.get("task") == LOSS else "images"]
        worth = 2 - final if more.get("task") == LOSS else final
        write_record(folder, rows or rows_of(worth, flat, kinds), **dict(record))
        return folder

    def load(self):
        found, _ = find_runs([self.path])
        records = {one.path: read_record(one.folder) for one in found}
        kept = {path: record for path, record in records.items() if record is not None}
        unmeasured = [LeftOut(p, "cannot be measured", "x") for p in records if p not in kept]
        return Stress.of(Sweep.load([self.path]), kept, unmeasured)
