"""Presets of the app train what the study's rows say."""

import csv
import json
from dataclasses import replace

import pandas as pd
import presets
import pytest
from arms import PLAIN, named
from click.testing import CliRunner
from hydra.core.global_hydra import GlobalHydra
from presets import PRESETS, RESULTS, Preset
from regimes import REGIMES
from scipy import stats

from lightning_dice.app.build import build_dice, build_task
from support.composing import compose_train

DECAY = {"adamw": 0.1, "rmsprop": 0.0}
"""Of the base optimizers, by the study's protocol."""


@pytest.fixture(autouse=True)
def _no_hydra_is_left():
    yield
    GlobalHydra.instance().clear()


@pytest.fixture
def composed(request):
    """A preset's regime, arm and configuration; a tiny encoder stands for MiniLM."""

    def make(preset):
        regime, own = REGIMES[preset.regime], []
        if preset.regime == "reviews":
            regime = replace(regime, network=request.getfixturevalue("reviews").network)
            own = [
                f"model.encoder={regime.network._folder}",
                f"data.length={regime.network.length}",
            ]
        return regime, named(preset.arm), compose_train(*preset.overrides, *own)

    return make


def rate(preset):
    own = {"regime": preset.regime, "base": preset.base, "arm": preset.arm}
    with (RESULTS / "tables" / "arms.csv").open(newline="") as file:
        return next(float(row["lr"]) for row in csv.DictReader(file) if own.items() <= row.items())


@pytest.mark.parametrize("preset", PRESETS, ids=lambda preset: preset.name)
def test_a_preset_is_an_arm_at_its_rate(preset, composed):
    regime, arm, config = composed(preset)
    assert config.optimizer.lr == rate(preset)
    decay = DECAY[preset.base] if arm.weight_decay is None else arm.weight_decay
    assert (config.optimizer.weight_decay, config.model.dropout) == (decay, arm.dropout)
    assert (config.trainer.max_steps, config.data.batch_size) == (regime.steps, regime.batch)
    assert config.data.label_noise == regime.label_noise
    assert (config.control == "plain") is (arm.throw is None)


@pytest.mark.parametrize(
    "preset",
    [preset for preset in PRESETS if named(preset.arm).throw is not None],
    ids=lambda preset: preset.name,
)
def test_its_dice_fall_where_the_studys_do(preset, composed):
    regime, arm, config = composed(preset)
    dice = build_dice(config)
    assert dice.throw == arm.throw
    assert (dice.settings["target"], dice.settings["scope"]) == (arm.target, arm.scope)
    model, _ = build_task(config)
    parameters = dict(model.named_parameters())
    chosen = [dice.choices.chosen(name) for name in parameters]
    hidden = set(regime.network.hidden) if arm.include == "hidden" else None
    layout = regime.network.layout
    expected = layout.chosen(hidden)
    assert sorted(p.shape for p in parameters.values()) == sorted(layout.shapes)
    assert sum(chosen) == sum(expected)
    assert sorted(p.shape for p, own in zip(parameters.values(), chosen, strict=True) if own) == (
        sorted(shape for shape, own in zip(layout.shapes, expected, strict=True) if own)
    )


def write_run(folder, seed, value, status="finished"):
    folder.mkdir(parents=True)
    summary = {
        "status": status,
        "seed": seed,
        "wall_time": 2.5,
        "task": {"metric": "val_loss"},
        "metrics": {"val_loss": value, "train_loss": 0.0},
        "versions": {"torch": "2", "lightning": "3", "python": "4"},
    }
    (folder / "summary.json").write_text(json.dumps(summary))


def test_runs_are_held_against_the_row(tmp_path, monkeypatch):
    preset = PRESETS[0]
    monkeypatch.setattr(presets, "PRESETS", (preset,))
    values = [1.59, 1.62, 1.6]
    for seed, value in enumerate(values):
        write_run(tmp_path / "runs" / preset.name / f"seed={seed}", seed, value)
    write_run(tmp_path / "runs" / preset.name / "seed=3", 3, 0.1, status="failed")
    call = ["--no-train", "--runs", str(tmp_path / "runs"), "--out", str(tmp_path)]
    done = CliRunner().invoke(presets.main, call, catch_exceptions=False)
    assert pd.read_csv(tmp_path / "presets.csv")["value"].tolist() == values
    with (RESULTS / "rows.jsonl").open(encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    own = {"regime": preset.regime, "base": preset.base, "arm": preset.arm, "lr": rate(preset)}
    study = [r["test_loss"] for r in rows if own.items() <= r.items() and r["seed"] in range(10)]
    assert len(study) == 10
    p = stats.ttest_ind(values, study, equal_var=False).pvalue
    low, high = stats.t.interval(0.95, 2, loc=pd.Series(values).mean(), scale=stats.sem(values))
    line = done.output.splitlines()[2]
    assert line.endswith(f"| 1.603 ({low:.3f} to {high:.3f}) | {p:.2f} | 2 |")
    low, high = stats.t.interval(0.95, 9, loc=pd.Series(study).mean(), scale=stats.sem(study))
    assert f"| {pd.Series(study).mean():.3f} ({low:.3f} to {high:.3f}) |" in line


def test_what_is_missing_is_trained_by_the_app(tmp_path, monkeypatch):
    monkeypatch.setattr(presets, "SEEDS", 1)
    preset = Preset("digits", "trainer.max_steps=2", "fashion", "sgd", PLAIN.name)
    presets.trained(preset, tmp_path / "of = two", ("trainer.max_epochs=1",))
    (run,) = presets.read(preset, tmp_path / "of = two").to_dict("records")
    assert (run["seed"], 0 < run["value"] < 1) == (0, True)


def test_committed_runs_are_the_pages_table():
    ends = pd.read_csv(RESULTS / "presets.csv")
    assert (ends.groupby("preset").size() == 5).all()
    page = (RESULTS.parent / "README.md").read_text(encoding="utf-8")
    assert presets.table(ends, pd.read_csv(RESULTS / "tables" / "arms.csv")) in page
