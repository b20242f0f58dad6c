"""Sweeps as a user runs them: commands, processes, signals."""

import json
import re
import shutil
import time
from pathlib import Path

import pytest

from support.commands import Command, run

pytestmark = pytest.mark.slow
QUICK = ["experiment=digits_sweep", "trainer.max_steps=6", "trainer.val_check_interval=3"]
TWO = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
ARMS = ["control=plain,plain_mean", "saving_throw.threshold=5,17"]


TESTS = {"PYTHONPATH": str(Path(__file__).parents[2])}
"""Where jobs find the data of ``support``, also in processes that a launcher makes."""


def sweep(folder, *overrides, fresh=False, **variables):
    words = ["-m", *QUICK, "hydra.sweep.dir=out", *overrides]
    return run(words, folder, {**TESTS, **variables}, fresh=fresh)


def summaries(folder):
    found = sorted((folder / "out").glob("*/summary.json"))
    return {path.parent.name: json.loads(path.read_text()) for path in found}


def status(folder):
    return {name: summary["status"] for name, summary in summaries(folder).items()}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A sweep that has ended: its folder, and what the command said."""
    folder = tmp_path_factory.mktemp("finished")
    return folder, sweep(folder, *ARMS, "seed=0,1")


def test_a_sweep_says_what_came_of_it(finished):
    folder, done = finished
    assert done.returncode == 0, done.stderr
    *lines, last = done.stdout.splitlines()
    assert re.fullmatch(r"what they found: (\S*/)?lightning-dice report out", last)
    assert lines == [
        "4 of 6 runs have finished in out",
        "refused: control='plain_mean': d20, threshold 17, margin has expected scale -0.115, and a "
        "learning rate times that is none; leave this control out for it "
        "(control=plain_mean,threshold=17,seed=0 and 1 more)",
    ]
    assert done.stderr == ""
    assert len(summaries(folder)) == 6


def test_a_sweep_is_not_made_twice(finished, tmp_path):
    shutil.copytree(finished[0], tmp_path, dirs_exist_ok=True)
    made = summaries(tmp_path)
    again = sweep(tmp_path, *ARMS, "seed=0,1,2")
    assert again.returncode == 0, again.stderr
    assert again.stdout.startswith("6 of 9 runs have finished in out, 4 of them before\n")
    now = summaries(tmp_path)
    kept = [name for name, summary in made.items() if summary["status"] == "finished"]
    assert {name: now[name] for name in kept} == {name: made[name] for name in kept}


def test_a_job_that_fails_leaves_the_others_alone(tmp_path):
    broken = "data._target_=support.broken.RaisesInTraining"
    done = sweep(tmp_path, "seed=0,1,2", broken, *TWO, fresh=True)
    assert done.returncode == 1
    assert done.stdout.startswith("2 of 3 runs have finished in out\n")
    failed, again = done.stderr.splitlines()
    assert failed == "failed: ArithmeticError: a cosmic ray (seed=1)"
    assert again.startswith("resume: ")
    assert again.endswith(" hydra.sweep.dir=out")
    assert status(tmp_path) == {"seed=0": "finished", "seed=1": "failed", "seed=2": "finished"}


def test_a_job_whose_process_is_killed_is_tried_once_more(tmp_path):
    (tmp_path / "kills").write_text("1")
    killer = "data._target_=support.broken.KillsItsProcess"
    done = sweep(tmp_path, "seed=0,1", killer, *TWO, KILLS=str(tmp_path / "kills"))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "kills").read_text() == "0", "it was killed"
    assert status(tmp_path) == {"seed=0": "finished", "seed=1": "finished"}


def test_a_sweep_that_nothing_can_be_made_of_is_refused_before_it_begins(tmp_path):
    done = sweep(tmp_path, "saving_throw.threshold=25,26", "seed=0,1")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("threshold=25: unreachable, as d20 totals")
    assert not (tmp_path / "out").exists()


def test_a_folder_with_another_sweep_is_refused(finished):
    folder, _ = finished
    before = summaries(folder)
    done = sweep(folder, *ARMS, "seed=0,1", "optimizer.lr=0.2")
    assert done.returncode == 1
    assert "holds a run with other settings: optimizer.lr=0.3 (now 0.2); choose another folder" in (
        done.stderr
    )
    assert summaries(folder) == before


def test_what_a_grid_has_no_values_of_is_refused(tmp_path):
    done = sweep(tmp_path, "optimizer.lr=interval(0.01,0.1)")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "-m='optimizer.lr=interval(0.01,0.1)': a grid has single values; list them, or use "
        "hydra/sweeper=optuna"
    )


def test_optuna_goes_on_after_a_job_that_fails_and_with_a_search_that_was_made(tmp_path):
    search = ["hydra/sweeper=optuna", "hydra/sweeper/sampler=random", "hydra.sweeper.n_trials=4"]
    search += ["hydra.sweeper.sampler.seed=0", "hydra.sweeper.direction=maximize"]
    broken = "data._target_=support.broken.RaisesInTraining"
    done = sweep(tmp_path, "seed=0,1,2", broken, *search)
    assert done.returncode == 0, done.stderr
    ended = list(status(tmp_path).values())
    assert len(ended) == 4
    assert set(ended) == {"failed", "finished"}
    made = {k: s for k, s in summaries(tmp_path).items() if s["status"] == "finished"}
    again = sweep(tmp_path, "seed=0,1,2", broken, *search)
    assert again.returncode == 0, again.stderr
    now = summaries(tmp_path)
    assert len(now) == 4
    assert {name: now[name] for name in made} == made, "the same trials, not made again"


def test_a_sweep_killed_three_times_ends_like_one_that_was_not(tmp_path):
    arms = ["control=none,plain,deck", "saving_throw.threshold=5", "seed=0,1,2"]
    (tmp_path / "whole").mkdir()
    assert sweep(tmp_path / "whole", *arms).returncode == 0  # and a job after the other
    whole = summaries(tmp_path / "whole")
    killed, finished = tmp_path / "killed", {}
    killed.mkdir()
    for launcher in (TWO, [], TWO):
        _kill_after(killed, [*arms, *launcher], at_least=len(finished) + 1)
        now = {k: s for k, s in summaries(killed).items() if s["status"] == "finished"}
        assert {name: now[name] for name in finished} == finished, "made once"
        finished = now
    assert len(finished) < len(whole), "it was killed on its way"
    assert sweep(killed, *arms, *TWO).returncode == 0
    end = summaries(killed)
    assert {name: end[name] for name in finished} == finished
    assert {k: s["metrics"] for k, s in end.items()} == {k: s["metrics"] for k, s in whole.items()}


def _kill_after(folder, arms, at_least):
    """Begin the sweep, and end it by SIGKILL once so many runs have finished."""
    started = Command(["-m", *QUICK, "hydra.sweep.dir=out", *arms], folder, TESTS)
    until = time.monotonic() + 120
    try:
        while list(status(folder).values()).count("finished") < at_least:
            assert time.monotonic() < until
            assert started.poll() is None
            time.sleep(0.02)
    finally:
        started.kill()  # its workers with it


def test_an_experiment_can_be_narrowed_on_the_command_line(tmp_path):
    short = ["trainer.max_steps=2", "trainer.val_check_interval=1", "hydra.sweep.dir=out"]
    narrowed = ["optimizer=sgd_digits", "threshold=10", "seed=0", "control=none,plain_mean,deck"]
    done = run(["-m", "experiment=threshold_sweep", *narrowed, *short], tmp_path)
    assert done.returncode == 0, done.stderr
    assert status(tmp_path) == dict.fromkeys(
        [
            "optimizer=sgd_digits,control=deck,target=gradient,threshold=10,seed=0",
            "optimizer=sgd_digits,control=deck,target=update,threshold=10,seed=0",
            "optimizer=sgd_digits,control=none,target=gradient,threshold=10,seed=0",
            "optimizer=sgd_digits,control=none,target=update,threshold=10,seed=0",
            "optimizer=sgd_digits,control=plain_mean,threshold=10,seed=0",
        ],
        "finished",
    )
