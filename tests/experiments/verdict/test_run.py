"""A plan is carried out once, however often the command is called."""

import json
import time
from dataclasses import replace

import pytest
import run as command
from click.testing import CliRunner
from plan import identity, packs_of, read_lines
from regimes import REGIMES


def lines_of(*arms, regime="tiny", **others):
    base = {"regime": regime, "base": "adamw", "lr": 0.01, "seed": 0}
    return [{**base, "arm": arm, **others} for arm in arms]


@pytest.fixture
def tiny(images, monkeypatch):
    regime = replace(images, name="tiny", steps=10)
    monkeypatch.setitem(REGIMES, "tiny", regime)
    command._data.cache_clear()
    return regime


@pytest.fixture
def call(tmp_path, tiny):
    def call(lines, *options):
        plan = tmp_path / "plan.jsonl"
        plan.write_text("".join(json.dumps(line) + "\n" for line in lines))
        options = ["--out", str(tmp_path / "rows.jsonl"), "--device", "cpu", *options]
        result = CliRunner().invoke(command.main, [str(plan), *options], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.output, list(read_lines(tmp_path / "rows.jsonl"))

    return call


def test_packs_hold_what_can_be_trained_together(tiny):
    arms = ("plain", "dropout-0.1", "plain-0.5", "t10-skip-model-update-all", "magma", "decay-0.3")
    packs = packs_of(lines_of(*arms), [], size=2)
    assert [[run.arm.name for run in pack.runs] for pack in packs] == [
        ["plain", "t10-skip-model-update-all"],
        ["decay-0.3", "magma"],
        ["dropout-0.1"],
        ["plain-0.5"],
    ]
    assert [pack.steps for pack in packs] == [10, 10, 10, 5]


def test_what_is_done_or_planned_twice_is_left_out(tiny):
    lines = lines_of("plain", "decay-0.3", "plain")
    (pack,) = packs_of(lines, [identity(lines[1])], size=8)
    assert [run.arm.name for run in pack.runs] == ["plain"]
    assert packs_of(lines, map(identity, lines), size=8) == []
    assert identity(lines[0]) == identity({**lines[0], "dice_seed": 0})


def test_a_second_call_trains_only_what_is_left(call, tmp_path):
    plan = lines_of("plain", "decay-0.3", "plain-0.5")
    output, rows = call(plan[:2])
    assert "2 runs left, in 1 packs" in output
    output, again = call(plan)
    assert "1 runs left" in output
    assert again[:2] == rows
    assert {row["arm"] for row in again} == {"plain", "decay-0.3", "plain-0.5"}
    output, _ = call(plan)
    assert "0 runs left" in output
    (session,) = json.loads((tmp_path / "machine.json").read_text())
    assert session["from"] <= session["to"]
    assert session["regimes"]["tiny"]["steps"] == 10
    output, _ = call([*plan, *lines_of("magma")], "--bf16")
    sessions = json.loads((tmp_path / "machine.json").read_text())
    assert [session["how"]["bf16"] for session in sessions] == [False, True]


def test_the_time_of_the_last_pack_counts(call, tmp_path, monkeypatch):
    train = command.train

    def slowly(*args, **settings):
        time.sleep(1.1)
        return train(*args, **settings)

    monkeypatch.setattr(command, "train", slowly)
    call(lines_of("plain"))
    (session,) = json.loads((tmp_path / "machine.json").read_text())
    assert session["from"] < session["to"]


def test_a_line_that_was_cut_off_is_made_again(call, tmp_path):
    _, rows = call(lines_of("plain", "decay-0.3"))
    path = tmp_path / "rows.jsonl"
    path.write_text(path.read_text()[:-30])
    _, again = call(lines_of("plain", "decay-0.3"))
    assert again[0] == rows[0]
    assert [row["arm"] for row in again] == ["plain", "decay-0.3"]


def test_no_pack_is_begun_that_cannot_be_through(call):
    output, rows = call(lines_of("plain", "decay-0.3"), "--pack", "1", "--limit-s", "0")
    assert "stopped before pack 1 of 2" in output
    assert rows == []


def test_the_clock_learns_from_the_packs_before(tiny):
    first, second = packs_of(lines_of("plain", "decay-0.3"), [], size=1)
    clock = command.Clock(limit=100)
    assert clock.fits(first)
    clock.through(first, 200)
    assert not clock.fits(second)


def test_packs_are_timed(tiny, monkeypatch):
    monkeypatch.setattr(command, "MEASURED", 2)
    long = replace(tiny, name="fashion", steps=60)
    monkeypatch.setitem(REGIMES, "fashion", long)
    result = CliRunner().invoke(
        command.main, ["--measure", "fashion", "--device", "cpu", "--sizes", "1,4"]
    )
    assert result.exit_code == 0, result.output
    assert result.output.count("runs a minute") == 2
