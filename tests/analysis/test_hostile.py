"""Folders that somebody else has made: what cannot be read is named, and no more is touched."""

import json
import os
import shutil

import numpy as np
import pytest

from lightning_dice.analysis.readers import read_metrics, read_roll_table, read_slots
from lightning_dice.analysis.report import write_report
from lightning_dice.analysis.run import Run, count, number, read_summary
from lightning_dice.analysis.stress.record import read_record
from lightning_dice.analysis.sweep.arms import UnreadableError, factors, read_arm
from lightning_dice.analysis.sweep.find import find_runs
from lightning_dice.rules import SettingError
from lightning_dice.trajectory_file import NOTE, TABLE, Trajectory

NAMES = ("summary.json", "rolls.csv", "metrics.csv", "slots.csv", "config.yaml", "stress.json")


@pytest.fixture
def folder(tmp_path):
    """A run with a summary and a metric, and nothing else."""
    run = tmp_path / "run"
    run.mkdir()
    (run / "summary.json").write_text(json.dumps({"format": 1, "status": "finished", "steps": 3}))
    (run / "metrics.csv").write_text("step,train_loss\n0,2.0\n1,1.5\n2,1.0\n")
    return run


def read_all(folder):
    """Read each file by its own reader."""
    read_summary(folder)
    read_roll_table(folder / "rolls.csv")
    read_metrics(folder / "metrics.csv")
    read_slots(folder / "slots.csv")
    return read_record(folder)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "link out", "link to itself"])
def test_what_is_no_file_of_the_folder_is_not_read(folder, tmp_path, name, kind):
    (tmp_path / "secret").write_text("secret\n")
    path = folder / name
    path.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to({"device": "/dev/zero", "link out": "../secret"}.get(kind, name))
    assert read_all(folder) is None
    if name != "summary.json":
        omissions = " ".join(Run.load(folder).omissions)
        assert name in omissions or name in ("slots.csv", "stress.json", "config.yaml")
        assert "secret" not in write_report(folder).read_text()


def test_nothing_is_written_through_a_link(folder, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (folder / "plots").symlink_to(elsewhere)
    with pytest.raises(SettingError, match="plots is a link that leads out of the folder"):
        write_report(folder)
    assert not list(elsewhere.iterdir())
    assert not (folder / "report.html").exists()


def test_a_page_takes_the_place_of_a_link(folder, tmp_path):
    mine = tmp_path / "mine.html"
    mine.write_text("mine")
    (folder / "report.html").symlink_to(mine)
    write_report(folder)
    assert mine.read_text() == "mine"
    assert not (folder / "report.html").is_symlink()


@pytest.mark.parametrize(
    ("text", "points", "unread"),
    [
        ("step,train_loss,note\n9,2.0,warm\n", {"train_loss": [2.0]}, "1 cell"),
        ("step,train_loss\n9,(1+2j)\n10,3.0\n", {"train_loss": [3.0]}, "1 cell"),
        ("step,train_loss\n9,1e308\n10,-1e200\n", {"train_loss": [np.inf, -np.inf]}, None),
        ("\ufeffstep,train_loss\r\n9,2.0\r\n", {"train_loss": [2.0]}, None),
        ("step,train_loss\n1e300,2.0\n3,1.0\n", {"train_loss": [1.0]}, "1 cell"),
        ("step,train_loss\n9,\x00\n10,1.0\n", {"train_loss": [1.0]}, "1 cell"),
    ],
)
def test_odd_cells_of_metrics_are_left_out(folder, text, points, unread):
    (folder / "metrics.csv").write_text(text, newline="")
    metrics, omissions = read_metrics(folder / "metrics.csv")
    assert {name: series.value.tolist() for name, series in metrics.items()} == points
    assert len(omissions) == (unread is not None)
    assert unread is None or f"has {unread} that cannot be read" in omissions[0]
    write_report(folder)  # warnings of NumPy and Matplotlib are errors here


def test_bytes_that_are_no_text_do_not_hide_the_rest(folder):
    (folder / "metrics.csv").write_bytes(b"step,train_loss,a\xff\n1,2.0,3.0\n")
    metrics, _ = read_metrics(folder / "metrics.csv")
    assert metrics["train_loss"].value.tolist() == [2.0]
    write_report(folder)


@pytest.mark.parametrize(
    "text",
    ["[" * 100_000, '{"a":' * 5000 + "1" + "}" * 5000, '{"steps": ' + "9" * 5000 + "}", "\x00", ""],
)
def test_a_summary_that_is_a_trap_is_one_that_cannot_be_read(folder, text):
    (folder / "summary.json").write_text(text)
    summary, missing = read_summary(folder)
    assert summary == {}
    assert len(missing) == 1
    assert "summary.json" in missing[0]
    assert len(missing[0]) < 300


def test_counts_that_nobody_made_are_not_believed(folder):
    odd = {
        "steps": 1e300,
        "rolls": {"count": 10**18, "since": 1e308, "outcomes": {"success": 1e99}},
    }
    (folder / "summary.json").write_text(json.dumps({"format": 1, "status": "finished", **odd}))
    assert Run.load(folder).steps is None
    write_report(folder)
    assert [count(value) for value in (3, 3.5, -1, 1e300, True, "3")] == [3, *[None] * 5]
    assert number(-1e200) == -np.inf


def test_a_folder_whose_name_is_no_text_is_named_all_the_same(tmp_path, folder):
    odd = tmp_path / "sweep" / "a\udcffb"
    shutil.copytree(folder, odd)
    found, left_out = find_runs([tmp_path / "sweep"])
    assert [run.path for run in found] == ["a\\xffb"]
    assert not left_out
    assert write_report(odd).exists()


def test_links_out_of_a_sweep_are_not_followed(tmp_path, folder):
    sweep = tmp_path / "sweep"
    shutil.copytree(folder, sweep / "own")
    (sweep / "other").symlink_to(folder)
    (sweep / "again").symlink_to("own")
    found, left_out = find_runs([sweep])
    assert {run.path for run in found} <= {"own", "again"}
    assert len(found) == 1
    assert [one.reason for one in left_out] == ["the folder is a link that leads out of the sweep"]


@pytest.mark.parametrize("threshold", [1e300, 0.5, None, "10", float("nan")])
def test_a_threshold_that_is_none_makes_no_arm(threshold):
    with pytest.raises(UnreadableError):
        read_arm({"dice": {"die": "d20", "threshold": threshold}})


def test_dice_and_factors_that_are_traps():
    arm = read_arm({"dice": {"die": f"d{'9' * 5000}", "threshold": 3, "scaling": [10**400, "x"]}})
    assert arm.order
    assert factors("[" * 9000) == "[" * 9000
    assert factors(arm.scaling).endswith("?")


@pytest.mark.parametrize(
    "note", ["{}", "[]", "x", '{"format": 1, "steps": [0, 1], "rows": [0, 0]}', None]
)
def test_a_trajectory_that_is_a_trap_is_refused(tmp_path, note):
    (tmp_path / TABLE).write_bytes(b"")
    if note is None:
        os.mkfifo(tmp_path / NOTE)
    else:
        (tmp_path / NOTE).write_text(note)
    with pytest.raises(SettingError):
        Trajectory.read(tmp_path)
