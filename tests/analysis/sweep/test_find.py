import json
import os
import sys

import pytest

from lightning_dice.analysis.sweep import Sweep
from lightning_dice.analysis.sweep import find as module
from lightning_dice.analysis.sweep.find import find_runs
from lightning_dice.rules import SettingError


def reasons(sweep):
    return {one.path: one.reason for one in Sweep.load([sweep.path]).left_out}


def test_runs_are_found_however_deep(sweep):
    for name in ("a", "b/c", "b/d/e/f"):
        sweep.add(0.9, seed=len(name), name=name)
    found, left_out = find_runs([sweep.path])
    assert [run.path for run in found] == ["a", "b/c", "b/d/e/f"]
    assert left_out == []


def test_neither_order_nor_overlap_of_folders_matters(sweep):
    sweep.add(0.9, name="a/x")
    sweep.add(0.8, name="b/y", seed=1)
    a, b = sweep.path / "a", sweep.path / "b"
    expected = [run.path for run in find_runs([sweep.path])[0]]
    for folders in ([a, b], [b, a], [sweep.path, a], [b, sweep.path, a], [a, a, b]):
        assert [run.path for run in find_runs(folders)[0]] == expected


def test_links_are_followed_never_in_a_circle_nor_out_of_the_sweep(sweep, tmp_path, new_folder):
    other = new_folder(tmp_path / "other")
    other.add(0.8, seed=1, name="there")
    run = sweep.add(0.9, name="here")
    (run / "up").symlink_to(sweep.path, target_is_directory=True)
    (sweep.path / "again").symlink_to(run, target_is_directory=True)
    (sweep.path / "self").symlink_to("self")
    (sweep.path / "nowhere").symlink_to("gone")
    (sweep.path / "linked").symlink_to(other.path, target_is_directory=True)
    found, left_out = find_runs([sweep.path])
    assert [run.path for run in found] == ["here"]
    (one,) = left_out
    assert (one.path, one.reason) == ("linked", "the folder is a link that leads out of the sweep")


BROKEN = {
    "empty": (b"", "summary.json cannot be read"),
    "cut": (b'{"format": 1, "stat', "summary.json cannot be read"),
    "bytes": (b"\xff\xfe\x00", "summary.json cannot be read"),
    "deep": (b"[" * 100_000, "summary.json cannot be read"),
    "list": (b"[1, 2]", "summary.json is not one of lightning-dice"),
    "text": (b'"summary"', "summary.json is not one of lightning-dice"),
    "nothing": (b"{}", "summary.json is not one of lightning-dice"),
    "foreign": (b'{"accuracy": 0.9}', "summary.json is not one of lightning-dice"),
    "future": (b'{"format": 2, "status": 1}', "summary.json has a format that is not known here"),
}


@pytest.mark.parametrize(("content", "reason"), BROKEN.values(), ids=BROKEN)
def test_a_broken_summary_is_left_out_by_name(sweep, content, reason):
    sweep.add(0.9)
    (sweep.path / "bad").mkdir()
    (sweep.path / "bad" / "summary.json").write_bytes(content)
    loaded = Sweep.load([sweep.path])
    assert [(one.path, one.reason) for one in loaded.left_out] == [("bad", reason)]
    assert len(loaded.runs) == 1


def test_what_is_no_file_is_no_summary(sweep):
    sweep.add(0.9)
    (sweep.path / "folder" / "summary.json").mkdir(parents=True)
    os.mkfifo((sweep.path / "folder").parent / "pipe") if sys.platform != "win32" else None
    assert reasons(sweep) == {"folder": "summary.json cannot be read"}


def test_a_run_without_a_summary_is_named_and_other_folders_are_not(sweep):
    run = sweep.add(0.9)
    for name in ("killed/rolls.csv", "data/table.csv", "job/.hydra/config.yaml"):
        (sweep.path / name).parent.mkdir(parents=True)
        (sweep.path / name).write_text("x", encoding="utf-8")
    (run / "lightning_logs").mkdir()
    (run / "lightning_logs" / "metrics.csv").write_text("step\n", encoding="utf-8")
    missing = "summary.json is missing"
    assert reasons(sweep) == {"killed": missing, "job": missing}


def test_a_folder_that_cannot_be_read(sweep, monkeypatch):
    sweep.add(0.9)
    (sweep.path / "locked").mkdir()
    scan = os.scandir

    def refuse(path):
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied")
        return scan(path)

    monkeypatch.setattr(module.os, "scandir", refuse)
    (one,) = Sweep.load([sweep.path]).left_out
    assert one == ("locked", "the folder cannot be read", "Permission denied")


def test_a_summary_that_cannot_be_read(sweep, monkeypatch):
    sweep.add(0.9)
    run = sweep.add(0.8, seed=1)
    is_file = module.Path.is_file

    def refuse(self):
        if self == run.resolve() / "summary.json":
            raise PermissionError(13, "Permission denied")
        return is_file(self)

    monkeypatch.setattr(module.Path, "is_file", refuse)
    (one,) = Sweep.load([sweep.path]).left_out
    assert one == ("001", "summary.json cannot be read", "Permission denied")


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        ("running", "had not ended"),
        ("failed", "failed"),
        ("interrupted", "interrupted"),
        ("refused", "refused: settings that cannot be used"),
        ("dreaming", "of unknown status"),
        (None, "of unknown status"),
    ],
)
def test_only_what_finished_counts(sweep, status, reason):
    sweep.add(0.9)
    sweep.add(0.8, seed=1, status=status, error="Traceback\n  file\nValueError: no\n\n")
    (one,) = Sweep.load([sweep.path]).left_out
    assert one == ("001", reason, "ValueError: no")


def test_a_refused_run_has_little_in_it(sweep):
    sweep.add(0.9)
    few = {"status": "refused", "error": "no", "seed": 1, "format": 1, "task": {"metric": "m"}}
    (sweep.path / "r").mkdir()
    (sweep.path / "r" / "summary.json").write_text(json.dumps(few), encoding="utf-8")
    assert reasons(sweep) == {"r": "refused: settings that cannot be used"}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"seed": None}, "has no seed, so it cannot be paired"),
        ({"seed": 0.5}, "has no seed, so it cannot be paired"),
        ({"seed": 10**400}, "summary.json cannot be read"),
        ({"seed": 10**30}, "has no seed, so it cannot be paired"),
        ({"task": {"metric": "m"}}, "does not say which way its metric is better"),
        ({"task": {"metric": 3, "mode": "max"}}, "names no metric that it is judged by"),
        ({"control": {"name": "magic"}}, "does not say which arm it is of"),
        ({"control": {"name": "deck"}}, "does not say which arm it is of"),
        ({"dice": {}, "control": None}, "does not say which arm it is of"),
        ({"control": {"name": "deck", "of": {"die": "d20"}}}, "does not say which arm it is of"),
        ({"control": {"of": {"die": "d6", "threshold": 2.5}}}, "does not say which arm it is of"),
    ],
)
def test_a_summary_that_says_too_little(sweep, change, reason):
    sweep.add(0.9)
    folder = sweep.add(0.8, seed=1)
    path = folder / "summary.json"
    content = json.loads(path.read_text("utf-8")) | change
    path.write_text(json.dumps(content), encoding="utf-8")
    assert reasons(sweep) == {"001": reason}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "metrics.csv is missing"),
        ("", "metrics.csv is empty"),
        ("epoch,step,val_accuracy\n0,9,0.5\n0,19,0.", "metrics.csv can be read in part"),
        ("epoch,step,val_accuracy\n0,9,0.5\n0,19,much\n", "metrics.csv can be read in part"),
        ("epoch,step,train_loss\n0,9,0.5\n", "metrics.csv lacks the metric"),
    ],
)
def test_a_broken_metrics_file_costs_the_curve_and_not_the_run(sweep, content, reason):
    folder = sweep.add(0.9)
    (folder / "metrics.csv").unlink()
    if content is not None:
        (folder / "metrics.csv").write_text(content, encoding="utf-8")
    loaded = Sweep.load([sweep.path])
    assert [(one.path, one.reason) for one in loaded.left_out] == [("000/metrics.csv", reason)]
    assert not loaded.left_out[0].is_run
    assert loaded.runs["final"].tolist() == [0.9]


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(SettingError, match="there is no such folder"):
        find_runs([tmp_path / "gone"])
    with pytest.raises(SettingError, match="expected the folder of a sweep, or several"):
        find_runs([])


def test_nothing_usable_says_what_was_found(sweep):
    with pytest.raises(SettingError, match=r"there is no run below it; expected folders with"):
        Sweep.load([sweep.path])
    sweep.add(0.9, status="failed")
    sweep.add(0.9, status="failed", seed=1)
    sweep.add(0.9, status="running", seed=2)
    with pytest.raises(SettingError, match=r"no run below it counts \(2 . failed; 1 . had not"):
        Sweep.load([sweep.path])
