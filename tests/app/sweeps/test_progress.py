"""The bar of a sweep, on a terminal and in a log file."""

import io
import time
from collections import Counter

import pytest
from omegaconf import OmegaConf
from rich.console import Console

from lightning_dice.app.sweeps import progress
from lightning_dice.app.sweeps.progress import SweepBar, SweepProgress


def console(terminal):
    return Console(file=io.StringIO(), force_terminal=terminal, width=80, color_system=None)


def test_a_terminal_shows_how_many_and_the_time_left():
    drawn, ended = console(True), Counter(finished=3, failed=1)
    with SweepBar(lambda: ended, 8, drawn):
        pass
    last = [line for line in drawn.file.getvalue().splitlines() if "sweep" in line][-1]
    assert "4/8 runs (1 failed)" in last
    assert last.rstrip().endswith("left")


def test_a_log_file_has_a_line_now_and_then(monkeypatch):
    monkeypatch.setattr(progress, "EVERY", 0.01)
    monkeypatch.setattr(progress, "LINE_EVERY", 0.0)
    plain, ended = console(False), Counter[str]()
    with SweepBar(lambda: ended, 8, plain):
        for status in ("finished", "refused"):
            ended[status] += 1
            time.sleep(0.3)
    assert plain.file.getvalue().splitlines() == ["1 of 8 runs", "2 of 8 runs (1 refused)"]


def swept(sweeper, folder):
    return OmegaConf.create({"hydra": {"sweeper": sweeper, "sweep": {"dir": str(folder)}}})


@pytest.mark.parametrize(
    ("sweeper", "bars"),
    [({"_target_": "x.OptunaSweeper", "n_trials": 5}, 1), ({"_target_": "x.GridSweeper"}, 0)],
)
def test_sweepers_that_do_not_know_their_jobs_have_a_bar(sweeper, bars, tmp_path):
    callback = SweepProgress()
    callback.on_multirun_start(swept(sweeper, tmp_path))
    assert len(SweepProgress._running) == bars
    callback.on_multirun_end(swept(sweeper, tmp_path))
    assert not SweepProgress._running


def test_another_sweeper_may_name_the_dice_as_the_command_line_does(tmp_path):
    """Its ``params`` are its own; the groups of dice have values that no option stands for."""
    sweeper = {"_target_": "x.BasicSweeper", "params": {"threshold": "5, easy", "seed": "0,1"}}
    config = swept(sweeper, tmp_path)
    callback = SweepProgress()
    callback.on_multirun_start(config)
    SweepProgress.stop()
    assert dict(config.hydra.sweeper.params) == {"saving_throw.threshold": "5,5", "seed": "0,1"}
