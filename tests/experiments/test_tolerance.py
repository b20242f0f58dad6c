"""The tolerance study: the tables of learning rates are what its tuning came to."""

import csv
import importlib.util
import json
import sys
from pathlib import Path

import click
import pytest
from omegaconf import OmegaConf

from lightning_dice.app.schema import config_folder

STUDY = Path(__file__).parents[2] / "experiments" / "tolerance"


@pytest.fixture(scope="module")
def tune():
    """The study's script."""
    spec = importlib.util.spec_from_file_location("tune", STUDY / "tune.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["tune"] = module
    spec.loader.exec_module(module)
    return module


def tried(tune, name, mode):
    with (STUDY / f"tuning-{name}.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    numbers = [(float(r["lr"]), int(r["runs"]), float(r["mean"] or "nan")) for r in rows]
    return [
        tune.Tried(r["optimizer"], r["clipping"], lr, runs, mean if mean == mean else None, mode)
        for r, (lr, runs, mean) in zip(rows, numbers, strict=True)
    ]


@pytest.mark.parametrize(("name", "mode"), [("digits", "max"), ("python_docs", "min")])
def test_the_committed_rates_are_the_best_that_were_tried(tune, name, mode):
    table = OmegaConf.to_container(OmegaConf.load(config_folder() / "tuned" / f"{name}.yaml"))
    assert tune.choose(tried(tune, name, mode)) == table


def test_what_lies_at_an_edge_is_refused(tune):
    rows = [tune.Tried("sgd", "clipped", lr, 3, lr, "max") for lr in (0.1, 0.2, 0.3)]
    with pytest.raises(click.ClickException, match=r"0\.3 lies at an edge"):
        tune.choose(rows)


def test_a_rate_with_a_run_that_diverged_is_not_chosen(tune, tmp_path):
    for lr, values in ((0.1, (2.0, 2.2)), (0.2, (1.0, 1.2)), (0.4, (0.5, None)), (0.8, (3.0, 3.0))):
        for seed, value in enumerate(values):
            settings = {"trainer.gradient_clip_val": None, "optimizer.lr": lr}
            task = {"optimizer": "sgd", "metric": "val_loss", "mode": "min"}
            summary = {"settings": settings, "task": task, "metrics": {"val_loss": value}}
            folder = tmp_path / f"{lr}-{seed}"
            folder.mkdir()
            (folder / "summary.json").write_text(json.dumps(summary))
    rows = tune.read(tmp_path)
    assert [row.mean for row in rows] == [pytest.approx(2.1), pytest.approx(1.1), None, 3.0]
    assert tune.choose(rows) == {"sgd": {"free": 0.2}}
