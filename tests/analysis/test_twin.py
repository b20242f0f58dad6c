"""The report of a run shows the run of the same seed without dice, where there is one."""

import json

import pytest

from lightning_dice.analysis import Run, facts, plots, write_report
from lightning_dice.analysis.phrases import NBSP
from lightning_dice.analysis.words import paragraph

PLAIN = {"control": {"name": "plain"}, "metrics": {"val_loss": 1.55}}


def labels(run):
    axes = plots.loss(run).axes[0]
    return {line.get_label(): line.get_ydata()[-1] for line in axes.lines}


def tile(run):
    return [one for one in facts.headlines(run) if one.label == "plain training"]


def test_value_and_curve_are_the_twins(make_run):
    folder = make_run()
    make_run("run/plain", **PLAIN)
    run = Run.load(folder)
    (shown,) = tile(run)
    assert (shown.value, shown.note) == ("1.55", "the same seed without dice")
    drawn = labels(run)["validation of the same seed without dice"]
    assert drawn == pytest.approx(run.twin.metrics["val_loss"].value[-1])
    page = write_report(folder).read_text(encoding="utf-8")
    assert "plain training" in page


def test_a_twin_that_was_interrupted_says_so(make_run):
    folder = make_run()
    make_run("run/plain", **PLAIN, status="interrupted")
    assert tile(Run.load(folder))[0].note == "the same seed without dice, interrupted"


@pytest.mark.parametrize(
    "other",
    [
        {"seed": 1},
        {"control": {"name": "deck"}},
        {"control": None},
        {"task": {"metric": "val_loss", "mode": "min", "model": "other"}},
        {"format": 99},
    ],
)
def test_another_run_is_no_twin(make_run, other):
    folder = make_run()
    make_run("run/plain", **{**PLAIN, **other})
    run = Run.load(folder)
    assert run.twin is None
    assert not tile(run)
    assert "without dice" not in " ".join(labels(run))


def test_a_twin_without_curves_leaves_its_value(make_run):
    folder = make_run()
    twin = make_run("run/plain", **PLAIN)
    (twin / "metrics.csv").unlink()
    run = Run.load(folder)
    assert tile(run)
    assert "without dice" not in " ".join(labels(run))


def test_a_folder_that_leads_to_itself_has_no_twin(make_run):
    folder = make_run()
    (folder / "plain").symlink_to(folder)
    assert Run.load(folder).twin is None
    summary = json.loads((folder / "summary.json").read_text())
    (folder / "summary.json").write_text(json.dumps({**summary, **PLAIN}))
    assert Run.load(folder).twin is None, "and no end of them"


@pytest.mark.parametrize(
    ("metric", "dice", "plain", "told"),
    [
        ("val_loss", 2.01, 1.55, "came to 1.55 nats/byte; dice are 0.46 above that."),
        ("val_loss", 1.5, 1.75, "came to 1.75 nats/byte; dice are 0.25 below that."),
        ("val_accuracy", 0.9, 0.95, "came to 95.0 %; dice are 5.0 percentage points below that."),
        # Neighbours in float32, in which metrics are logged.
        ("val_loss", 1.5, 1.5000001, "came to 1.50 nats/byte; dice are level with that."),
    ],
)
def test_the_paragraph_says_what_dice_cost(make_run, metric, dice, plain, told):
    task = {"metric": metric, "mode": "min", "unit": "nats/byte"}
    folder = make_run(task=task, metrics={metric: dice})
    make_run("run/plain", **{**PLAIN, "task": task, "metrics": {metric: plain}})
    text = paragraph(Run.load(folder)).replace(NBSP, " ")
    assert f"The same seed without dice {told}" in text
