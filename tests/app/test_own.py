"""A model and data of one's own: what they must have, and what becomes of what they lack."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lightning_dice.app.build import build_metric, build_task
from lightning_dice.app.models.base import Metric
from lightning_dice.app.train import train
from lightning_dice.records import read_rolls
from lightning_dice.rules import SettingError
from support import own

COMMAND = Path(sys.executable).with_name("lightning-dice-train")
JUDGED = ["metric.name=val_loss", "metric.unit=squares", "metric.mode=min"]
CHOICES = {"data": "own", "model": "own", "optimizer": "sgd"}
QUICK = ["experiment=digits_sweep", "trainer.max_steps=6", "trainer.val_check_interval=3"]
QUICK += ["trainer.log_every_n_steps=2"]


def chosen(model="Net", data="Data"):
    parts = {"model": model, "data": data}
    return [w for g, c in parts.items() for w in (f"{g}=own", f"{g}._target_=support.own.{c}")]


@pytest.fixture
def run(composed, tmp_path):
    def train_quickly(*overrides):
        return train(composed(*QUICK, *overrides), tmp_path / "run", CHOICES)

    return train_quickly


def test_it_is_trained_and_on_record_under_the_names_of_its_classes(run, tmp_path):
    summary = run(*chosen(), *JUDGED, "model.width=3")
    assert summary["status"] == "finished"
    assert summary["task"] == {
        "data": "Data",
        "model": "Net",
        "optimizer": "sgd",
        "metric": "val_loss",
        "unit": "squares",
        "mode": "min",
    }
    assert summary["settings"]["model.width"] == 3
    assert summary["baseline"] is None
    assert summary["metrics"].keys() >= {"val_loss", "train_loss"}
    assert len(list(read_rolls(tmp_path / "run" / "rolls.csv"))) == 6


def test_a_report_is_drawn_of_it(run, tmp_path):
    run(*chosen(), *JUDGED, "metric.unit=null", "report=true")
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "Net" in page
    assert "baseline of" not in page


@pytest.mark.parametrize("model", ["Net", "PassesOn"])
def test_it_is_given_the_optimizer_and_its_own_settings(composed, model):
    made, data = build_task(composed(*QUICK, *chosen(model), *JUDGED, "model.width=3"))
    assert type(made) is getattr(own, model)
    assert made.net[0].out_features == 3
    assert made.configure_optimizers().param_groups[0]["momentum"] == 0.9
    assert type(data) is own.Data


def test_a_batch_size_is_for_data_that_take_one(composed):
    taken = build_task(composed(*QUICK, *chosen(data="InBatches"), *JUDGED, "data.examples=9"))[1]
    assert (taken.batch_size, len(taken.pairs)) == (64, 9)
    assert build_task(composed(*QUICK, *chosen(data="Data"), *JUDGED))[1]


def test_our_data_go_with_a_model_that_says_no_kind(composed):
    model = ["model=own", "model._target_=support.own.Net"]
    assert build_task(composed("data=digits", *model))[0]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (chosen("TakesNone"), "model='TakesNone': needs a constructor with an argument `optim"),
        (chosen("Data"), "model._target_='support.own.Data': is no LightningModule"),
        (chosen(data="Net"), "data._target_='support.own.Net': is no LightningDataModule"),
        (chosen("Nothing"), "support.own.Nothing"),
        (["model=own", "data=digits"], "model._target_='???': expected the name of a class"),
        ([*chosen(), "model.depth=3"], "unexpected keyword argument 'depth'"),
    ],
)
def test_what_cannot_be_trained_is_refused(composed, overrides, message):
    with pytest.raises(SettingError) as caught:
        build_task(composed(*overrides, *JUDGED))
    assert message in str(caught.value)


class TestMetric:
    def test_it_is_the_models_own_unless_another_is_given(self, composed):
        assert build_metric(composed("data=digits")).name == "val_accuracy"
        given = build_metric(composed("data=digits", *JUDGED))
        assert given == Metric("val_loss", "squares", "min")

    def test_a_model_that_has_none_must_be_given_one(self, composed):
        with pytest.raises(SettingError, match=r"metric\.name=None: .* give metric\.name and"):
            build_metric(composed(*chosen()))

    @pytest.mark.parametrize("mode", ["null", "up"])
    def test_it_must_be_known_which_way_is_better(self, composed, mode):
        with pytest.raises(SettingError, match=r"metric\.mode=.*expected min or max"):
            build_metric(composed(*chosen(), "metric.name=loss", f"metric.mode={mode}"))

    def test_another_metric_has_no_baseline(self, composed, tmp_path):
        config = composed(*QUICK, *JUDGED, "trainer.max_steps=2")
        summary = train(config, tmp_path / "run", {**CHOICES, "data": "digits", "model": "cnn"})
        assert summary["task"]["metric"] == "val_loss"
        assert summary["baseline"] is None

    def test_one_that_is_never_logged_fails_the_run(self, run, tmp_path):
        message = r"metric\.name='val_f1': was never logged; what was: train_loss, val_loss"
        with pytest.raises(SettingError, match=message):
            run(*chosen(), "metric.name=val_f1", "metric.mode=max")
        summary = json.loads((tmp_path / "run" / "summary.json").read_text())
        assert summary["status"] == "failed"
        assert "val_f1" in summary["error"]

    @pytest.mark.filterwarnings("ignore:You passed in a `val_dataloader` but have no")
    def test_without_validation_it_may_be_one_of_training(self, run):
        summary = run(*chosen("Unvalidated"), "metric.name=train_loss", "metric.mode=min")
        assert summary["metrics"].keys() == {"train_loss"}


def test_a_model_that_makes_its_own_optimizer_fails_its_run(run):
    with pytest.raises(SettingError, match="makes no use of the `optimizer` that it was given"):
        run(*chosen("MakesItsOwn"), *JUDGED)


@pytest.mark.slow
def test_modules_beside_the_command_are_found_by_the_jobs_of_a_sweep(tmp_path):
    shutil.copy(own.__file__, tmp_path / "mine.py")
    parts = ["model=own", "model._target_=mine.Net", "data=own", "data._target_=mine.Data"]
    narrowed = ["optimizer=sgd", "control=none,plain", "saving_throw.threshold=8", "seed=0"]
    narrowed += ["dice.target=update", "saving_throw.scaling=skip", "trainer.gradient_clip_val=1"]
    narrowed += ["trainer.max_steps=2", "hydra.sweep.dir=out"]
    done = subprocess.run(
        [str(COMMAND), "-m", "experiment=tolerance", *parts, *JUDGED, *narrowed],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "80"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    summaries = [json.loads(path.read_text()) for path in tmp_path.glob("out/*/summary.json")]
    assert {s["control"]["name"]: s["status"] for s in summaries} == {
        "none": "finished",
        "plain": "finished",
    }
    assert {s["task"]["model"] for s in summaries} == {"Net"}
