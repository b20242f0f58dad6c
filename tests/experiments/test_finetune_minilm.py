"""The fine-tuning study: its settings are what the tuning chose, its tables are of its runs."""

import csv
import importlib.util
import json
import re
import sys
from pathlib import Path

import click
import pandas as pd
import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from scipy import stats

from lightning_dice.app.schema import config_folder, register

STUDY = Path(__file__).parents[2] / "experiments" / "finetune_minilm"
TABLES = STUDY / "results" / "tables"


@pytest.fixture(scope="module")
def tune():
    """The study's script."""
    spec = importlib.util.spec_from_file_location("tune_minilm", STUDY / "tune.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["tune_minilm"] = module
    spec.loader.exec_module(module)
    return module


def chosen(name):
    register()
    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        return compose("train", [f"experiment={name}"], return_hydra_config=True)


def swept(name):
    path = config_folder() / "experiment" / f"{name}.yaml"
    return OmegaConf.load(path).hydra.sweeper.params


@pytest.fixture(scope="module")
def runs():
    return pd.read_csv(TABLES / "runs.csv").fillna({"threshold": 0, "target": ""})


class TestTuning:
    def test_the_learning_rate_is_the_best_of_those_tried_for_as_many_steps(self, tune):
        with tune.TABLE.open(encoding="utf-8", newline="") as file:
            _, *lines = csv.reader(file)
        rows = [(int(steps), float(lr), *map(float, others)) for steps, lr, *others in lines]
        config = chosen("finetune_minilm")
        assert tune.best(rows, config.trainer.max_steps) == config.optimizer.lr
        assert {row[2] for row in rows} == {3}
        params = swept("finetune_minilm_tuning")
        tried = [params["trainer.max_steps"].split(","), params["optimizer.lr"].split(",")]
        assert {row[:2] for row in rows} == {
            (int(s), float(lr)) for s in tried[0] for lr in tried[1]
        }

    def test_its_seeds_are_not_those_of_the_study(self):
        seeds = [
            set(range(*map(int, re.findall(r"\d+", swept(name)["seed"]))))
            for name in ("finetune_minilm", "finetune_minilm_tuning")
        ]
        assert not seeds[0] & seeds[1]

    def test_a_table_is_read_from_runs(self, tune, tmp_path):
        ends = {(10, 0.1): (0.5, 0.7), (10, 0.2): (0.9, 0.8), (10, 0.3): (0.6, 0.6)}
        for (steps, lr), values in ends.items():
            for seed, value in enumerate(values):
                folder = tmp_path / f"{lr}-{seed}"
                folder.mkdir()
                summary = {
                    "status": "finished",
                    "settings": {"trainer.max_steps": steps, "optimizer.lr": lr},
                    "metrics": {"val_accuracy": value},
                }
                (folder / "summary.json").write_text(json.dumps(summary))
        rows = tune.read(tmp_path)
        assert rows[1] == (10, 0.2, 2, 0.85, 0.8, 0.9)
        assert tune.best(rows, 10) == 0.2
        with pytest.raises(click.ClickException, match=r"0\.2 lies at an edge"):
            tune.best(rows[:2], 10)
        (folder / "summary.json").write_text('{"status": "failed"}')
        with pytest.raises(click.ClickException, match=r"0\.3-1 is failed"):
            tune.read(tmp_path)


class TestResults:
    def test_every_arm_has_every_seed(self, runs):
        groups = runs.groupby(["control", "threshold", "target"])["seed"].apply(sorted)
        assert (groups.map(tuple) == (0, 1, 2, 3, 4)).all()
        assert groups.groupby("control").size().to_dict() == {
            "dice": 6,
            "plain": 1,
            "plain_mean": 3,
        }
        assert set(runs["steps"]) == {chosen("finetune_minilm").trainer.max_steps}
        assert pd.read_csv(TABLES / "left_out.csv").empty

    def test_means_and_intervals_are_those_of_the_runs(self, runs):
        keys = ["control", "threshold", "target"]
        arms = pd.read_csv(TABLES / "arms.csv").fillna({"threshold": 0, "target": ""})
        finals = runs.groupby(keys)["final"]
        for arm in arms.itertuples():
            values = finals.get_group((arm.control, arm.threshold, arm.target))
            low, high = stats.t.interval(0.95, 4, values.mean(), stats.sem(values))
            assert arm.mean == pytest.approx(values.mean())
            assert (arm.ci_low, arm.ci_high) == pytest.approx((low, high))

    def test_differences_are_seed_by_seed(self, runs):
        finals = runs.set_index(["control", "threshold", "target", "seed"])["final"].sort_index()
        for row in pd.read_csv(TABLES / "comparisons.csv").itertuples():
            threshold = 0 if row.against == "plain" else row.threshold
            ours = finals["dice", row.threshold, row.target].to_numpy()
            test = stats.ttest_rel(ours, finals[row.against, threshold, ""].to_numpy())
            mean = (ours - finals[row.against, threshold, ""].to_numpy()).mean()
            assert row.difference == pytest.approx(mean)
            assert row.p == pytest.approx(test.pvalue)


def test_the_card_shows_what_both_trainers_came_to(runs):
    shown = {
        line.split("|")[1].strip(): line
        for line in (STUDY / "README.md").read_text(encoding="utf-8").splitlines()
        if line.startswith("| plain") or line.startswith("| threshold")
    }
    by_hf = pd.read_json(TABLES.parent / "huggingface.jsonl", lines=True)
    by_hf = by_hf.fillna({"threshold": 0, "target": ""})
    for (threshold, target), own in by_hf.groupby(["threshold", "target"]):
        assert sorted(own["seed"]) == [0, 1, 2, 3, 4]
        line = shown[f"threshold {threshold:.0f}, {target}" if threshold else "plain"]
        ours = runs[(runs.threshold == threshold) & (runs.target == target)]
        ours = ours[ours.control == ("dice" if threshold else "plain")]["final"]
        for values, cell in zip((ours, own["val_accuracy"]), line.split("|")[2:4], strict=True):
            mean, low, high = (
                f"{100 * v:.1f}" for v in (values.mean(), values.min(), values.max())
            )
            assert cell.strip() == f"{mean} % ({low} to {high})"


def test_the_small_experiment_is_a_part_of_the_study():
    small, whole = chosen("finetune_minilm_small"), chosen("finetune_minilm")
    assert small.model._target_ == whole.model._target_
    assert small.optimizer == whole.optimizer
    assert small.data.rows * 2 == small.data.batch_size * small.trainer.max_steps, "two epochs"
    assert small.hydra.sweep.dir != whole.hydra.sweep.dir
