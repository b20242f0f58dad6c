import dataclasses
import json

import pytest

from lightning_dice.analysis import Expected, Run
from lightning_dice.analysis.messages import slots_message
from lightning_dice.rules import Outcome, SavingThrow, SettingError


def edit(folder, **parts):
    """Change what ``summary.json`` says."""
    path = folder / "summary.json"
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | parts), encoding="utf-8")
    return folder


def test_a_whole_folder_has_no_omissions(make_run, rolled):
    records = rolled(600)
    run = Run.load(make_run("mine", records=records))
    assert run.omissions == ()
    assert run.name == "mine"
    assert run.status == "finished"
    assert run.steps == run.count == 600
    assert run.counts == {o: sum(r.outcome is o for r in records) for o in Outcome}
    assert run.mean_scale == pytest.approx(sum(r.scale or 0 for r in records) / 600)
    assert run.config.startswith("task:")
    assert run.final("val_loss") == 1.93
    assert run.baseline == ("bigram", 2.32)


def test_it_is_frozen(make_run):
    with pytest.raises(dataclasses.FrozenInstanceError):
        Run.load(make_run()).name = "other"


def test_it_takes_a_path_as_text(make_run):
    assert Run.load(str(make_run())).count == 600


def test_the_odds_are_those_of_the_saving_throw(make_run):
    expected, odds = Run.load(make_run()).expected, SavingThrow("d20", 10).odds()
    assert expected.mean == pytest.approx(0.3225)
    assert expected.efficiency == pytest.approx(float(odds.efficiency))
    assert expected.probability == {o: float(p) for o, p in odds.probability.items()}


def test_no_such_folder(tmp_path):
    with pytest.raises(SettingError, match="there is no such folder") as caught:
        Run.load(tmp_path / "nowhere")
    assert caught.value.setting == "run"
    assert caught.value.value == str(tmp_path / "nowhere")


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "run").write_text("", encoding="utf-8")
    with pytest.raises(SettingError, match="no such folder"):
        Run.load(tmp_path / "run")


@pytest.mark.parametrize(
    ("summary", "reason"),
    [
        (None, "summary.json and saving_throw.json are missing"),
        ("", "summary.json cannot be read"),
        ('{"format": 1, "sta', "summary.json cannot be read"),
        ("[1, 2]", "summary.json holds no summary"),
        ("{}", "summary.json holds no summary"),
    ],
)
def test_a_folder_that_is_no_run_is_refused_with_reasons(tmp_path, summary, reason):
    (tmp_path / "metrics.csv").write_text("step,val_loss\n1,2\n", encoding="utf-8")
    if summary is not None:
        (tmp_path / "summary.json").write_text(summary, encoding="utf-8")
    with pytest.raises(SettingError, match="not a run's folder") as caught:
        Run.load(tmp_path)
    assert reason in str(caught.value)
    assert "rolls.csv is missing" in str(caught.value)


def test_rolls_alone_make_a_run(make_run):
    folder = make_run()
    for name in ("summary.json", "metrics.csv", "config.yaml"):
        (folder / name).unlink()
    run = Run.load(folder)
    assert run.count == 600
    assert run.status == "unknown"
    assert run.expected is run.luck is run.steps is run.baseline is None
    assert run.omissions == (
        "summary.json and saving_throw.json are missing",
        "metrics.csv is missing",
    )


def test_the_record_of_somebodys_own_training_is_whole(make_own, rolled):
    records = rolled(600)
    run = Run.load(make_own(records=records))
    assert run.omissions == ()
    assert (run.status, run.steps, run.count) == ("finished", 600, 600)
    assert run.expected.mean == pytest.approx(0.3225)
    assert run.luck is not None
    assert run.optimizers == (("SGD", "linear"),)
    assert run.baseline is run.config is None


def test_beside_a_summary_the_record_does_not_count(make_run, make_own):
    folder = make_run("both", steps=9)
    record = json.loads((make_own("own", steps=9) / "saving_throw.json").read_text("utf-8"))
    (folder / "saving_throw.json").write_text(json.dumps(record), encoding="utf-8")
    assert Run.load(folder).part("task")["model"] == "gpt"
    (folder / "summary.json").write_text("{", encoding="utf-8")
    run = Run.load(folder)
    assert run.summary == {}
    assert "summary.json cannot be read" in run.omissions[0]


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"{}", b"\xff\xfe", b"[" * 100_000])
def test_a_record_that_is_none_is_named(make_own, content):
    folder = make_own(steps=9)
    (folder / "saving_throw.json").write_bytes(content)
    run = Run.load(folder)
    assert run.count == 9
    assert run.omissions[0].startswith("saving_throw.json ")
    assert len(run.omissions) == 1


def test_a_record_of_another_format_or_count_is_named(make_own):
    with pytest.raises(SettingError, match=r"saving_throw\.json has format 2"):
        Run.load(make_own("later", steps=9, parts={"format": 2}))
    run = Run.load(make_own(steps=9, parts={"rolls": {"count": 5}, "odds": {}}))
    assert run.omissions == (
        "saving_throw.json has no odds",
        "rolls.csv holds 9 rolls and saving_throw.json counts 5",
    )


@pytest.mark.parametrize(
    ("rows", "metric"),
    [
        ([{"step": 1, "train_loss": 2.0, "val_loss": 3.0}], "val_loss"),
        ([{"step": 1, "val_accuracy": 0.5, "train_loss": 2.0}], "val_accuracy"),
        ([{"step": 1, "dice/mean_scale": 0.3, "train_loss_epoch": 2.0}], "train_loss_epoch"),
        ([{"step": 1, "f1": 0.3, "my/loss": 2.0}], "my/loss"),
        ([{"step": 1, "dice/mean_scale": 0.3, "f1": 2.0}], "f1"),
        ([], "val_loss"),
    ],
)
def test_a_training_that_names_no_metric_is_judged_by_what_it_logged(make_own, rows, metric):
    assert Run.load(make_own(steps=9, rows=rows)).metric == metric


def test_a_summary_alone_makes_a_run(make_run, rolled):
    records = rolled(600)
    folder = make_run(records=records)
    (folder / "rolls.csv").unlink()
    run = Run.load(folder)
    assert len(run.rolls) == 0
    assert run.counts == {o: sum(r.outcome is o for r in records) for o in Outcome}
    assert run.mean_scale == pytest.approx(sum(r.scale or 0 for r in records) / 600)
    assert run.luck is not None
    assert run.omissions == ("rolls.csv is missing",)


def test_another_format_is_refused(make_run):
    with pytest.raises(SettingError, match="has format 2"):
        Run.load(edit(make_run(), format=2))


def test_a_shorter_rolls_file_is_named_and_its_luck_is_not_the_summarys(make_run):
    folder = make_run()
    lines = (folder / "rolls.csv").read_text("utf-8").splitlines(keepends=True)
    (folder / "rolls.csv").write_text("".join(lines[:401]), encoding="utf-8")
    run = Run.load(folder)
    assert run.count == 400
    assert run.luck is None
    assert run.omissions == ("rolls.csv holds 400 rolls and summary.json counts 600",)


def test_a_running_training_may_be_ahead_of_its_summary(make_run):
    summary = {"status": "running", "rolls": {"count": 500, "luck": None}}
    run = Run.load(edit(make_run(), **summary))
    assert run.omissions == ()
    assert run.luck is None


def test_missing_odds_are_named(make_run):
    run = Run.load(edit(make_run(), odds={}))
    assert run.expected is None
    assert run.omissions == ("summary.json has no odds",)


def test_a_config_that_is_no_text_is_named(make_run):
    folder = make_run()
    (folder / "config.yaml").write_bytes(b"\xff\xfe")
    run = Run.load(folder)
    assert run.config is None
    assert "config.yaml cannot be read" in run.omissions[0]


@pytest.mark.parametrize(
    "part", ["task", "dice", "odds", "rolls", "metrics", "baseline", "versions"]
)
@pytest.mark.parametrize("value", [None, "text", 3, [], {}])
def test_a_part_of_another_kind_counts_as_missing(make_run, part, value):
    run = Run.load(edit(make_run(steps=20), **{part: value}))
    assert run.part(part) == {}
    assert run.count == 20
    assert run.metric == "val_loss"


@pytest.mark.parametrize("wrong", ["0.3", None, True, float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["mean", "efficiency", "discard"])
def test_odds_with_a_number_that_is_none_are_no_odds(make_run, name, wrong):
    odds = dict(json.loads((make_run(steps=9) / "summary.json").read_text("utf-8"))["odds"])
    assert Expected.read(odds) is not None
    assert Expected.read({**odds, name: wrong}) is None
    chances = {**odds["probability"], "failure": wrong}
    assert Expected.read({**odds, "probability": chances}) is None


def test_a_chance_above_one_is_no_chance(make_run):
    odds = json.loads((make_run(steps=9) / "summary.json").read_text("utf-8"))["odds"]
    odds["probability"]["failure"] = 1.5
    assert Expected.read(odds) is None


def test_odds_of_zero_are_odds(make_run):
    throw = SavingThrow("d4", 4, scaling=[None] * 4)
    run = Run.load(make_run(steps=9, throw=throw))
    assert (run.expected.mean, run.expected.efficiency, run.expected.discard) == (0, 0, 1)


def test_a_metric_the_summary_lacks_is_the_last_one_logged(make_run):
    rows = [{"step": 3, "val_loss": 5.0}, {"step": 9, "val_loss": 4.0}]
    run = Run.load(make_run(rows=rows, metrics={}))
    assert run.final("val_loss") == 4.0
    assert run.final("val_f1") is None


def test_nan_is_a_value_and_null_is_none(make_run):
    run = Run.load(make_run(rows=[], metrics={"val_loss": float("nan"), "train_loss": None}))
    assert run.final("val_loss") != run.final("val_loss")
    assert run.final("train_loss") is None


@pytest.mark.parametrize("baseline", [None, {"name": "x"}, {"name": "x", "value": float("nan")}])
def test_no_baseline(make_run, baseline):
    assert Run.load(make_run(baseline=baseline)).baseline is None


@pytest.mark.parametrize("luck", [None, -0.1, 1.1, float("nan"), "0.5"])
def test_a_luck_that_is_no_probability_is_no_luck(make_run, luck):
    folder = make_run()
    rolls = json.loads((folder / "summary.json").read_text("utf-8"))["rolls"]
    assert Run.load(edit(folder, rolls={**rolls, "luck": luck})).luck is None
    assert Run.load(edit(folder, rolls={**rolls, "luck": 0.25})).luck == 0.25


def test_rolls_of_an_earlier_saving_throw_are_left_out_and_named(make_run, rolled):
    folder = make_run("mine", records=rolled(600))
    rolls = json.loads((folder / "summary.json").read_text())["rolls"]
    run = Run.load(edit(folder, rolls={**rolls, "since": 200, "count": 400}))
    assert len(run.rolls) == run.count == 400
    assert run.rolls.step.min() == 200
    assert run.omissions == (
        "200 rolls from before step 200 are left out, where training went on with another saving "
        "throw",
    )


def test_places_of_an_earlier_saving_throw_are_left_out(make_run, rolled):
    """A run with a scope of several slots went on with scope model; its slots.csv is of before."""
    before = [roll._replace(slot=slot) for roll in rolled(20) for slot in (0, 1)]
    after = [roll for roll in rolled(60) if roll.step >= 20]
    folder = make_run("mine", records=[*before, *after])
    (folder / "slots.csv").write_text("optimizer,slot,parameter\n0,0,a\n0,1,b\n")
    summary = json.loads((folder / "summary.json").read_text())
    edit(folder, rolls={**summary["rolls"], "since": 20, "count": 40})
    run = Run.load(edit(folder, dice={**summary["dice"], "scope": "model"}))
    assert run.rolls.places == ((0, 0),)
    assert not run.rolls.several
    assert not run.slots


def test_ranks_that_roll_apart_have_rows_and_no_slots_file(make_run, rolled):
    records = [roll._replace(slot=rank) for roll in rolled(20) for rank in (0, 1)]
    folder = make_run("mine", records=records)
    summary = json.loads((folder / "summary.json").read_text())
    dice = {**summary["dice"], "scope": "model", "ranks": "independent"}
    run = Run.load(edit(folder, dice=dice))
    assert run.by_rank
    assert not any("slots.csv" in omission for omission in run.omissions)
    assert "2 ranks" in slots_message(run)
