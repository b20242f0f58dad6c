"""A run that is killed at any file operation, and resumed, leaves what nobody's kill would have.

The kill is a SIGKILL from within a forked process, at an event that Python reports before a file is
opened, renamed or removed. Every file is compared with that of a run that nobody killed.
"""

import json
import os
import random
import shutil
import signal
import sys
import traceback
import warnings

import pytest
import torch

import lightning_dice.app.main as app

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")]

BASE = ["experiment=digits", "report=false", "progress=false", "logger=none"]
LENGTH = ["trainer.max_steps=17", "data.batch_size=128", "trainer.limit_val_batches=2"]
"""Epochs have 11 mini-batches."""
WAYS = {
    "windows": [
        "trainer.val_check_interval=3",
        "trainer.accumulate_grad_batches=2",
        "trajectory=4",
    ],
    "steps": ["trainer.val_check_interval=5", "trajectory=5", "model.dropout=0.2"],
    "slots": ["trainer.val_check_interval=4", "scope=tensor", "target=update"],
    "mini_batches": [
        "trainer.val_check_interval=4",
        "trainer.accumulate_grad_batches=3",
        "granularity=per_mini_batch",
    ],
    "epochs": ["trainer.val_check_interval=1.0", "trainer.check_val_every_n_epoch=1"],
    "no_validation": ["trainer.limit_val_batches=0"],
    "twin": ["trainer.val_check_interval=4", "twin=true"],
}
EVENTS = ("open", "os.rename", "os.remove", "os.truncate", "os.mkdir")
KILLED = 128 + signal.SIGKILL
TIMES = ("started", "wall_time", "versions")


def train(folder, settings, kill_at=None):
    """Train in a forked process; return its exit status, and how many file operations it made."""
    counted, count = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            _train(folder, settings, kill_at, count)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(1)
    os.close(count)
    with os.fdopen(counted, "rb") as pipe:
        operations = len(pipe.read())
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return status, operations


def _train(folder, settings, kill_at, count):
    made = 0

    def hook(event, args):
        nonlocal made
        if event in EVENTS and str(args[0]).startswith(str(folder)):
            made += 1
            if made == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
            os.write(count, b".")

    warnings.simplefilter("default")  # which this process's tests take for errors
    torch.set_num_threads(1)
    os.chdir(folder.parent)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    sys.addaudithook(hook)
    sys.argv = ["lightning-dice-train", *BASE, *LENGTH, *settings, f"hydra.run.dir={folder}"]
    app.main()
    os._exit(0)


def left(folder):
    """What a run left, by file, without what says when or where it was made."""
    return {
        str(path.relative_to(folder)): _content(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ".hydra" not in path.parts
    }


def _content(path):
    if path.name == "summary.json":
        summary = json.loads(path.read_text())
        return {key: value for key, value in summary.items() if key not in TIMES}
    if path.suffix == ".ckpt":
        return _plain(torch.load(path, weights_only=True))
    if path.name == "config.yaml":
        return [line for line in path.read_text().splitlines() if not line.startswith("ckpt_path")]
    if path.name == "trajectory.json":
        note = json.loads(path.read_text())
        return note | {"rows": None}  # places in the table are used again, in any order
    if path.name == "trajectory.npy":
        return path.stat().st_size  # whose points are compared by their steps
    return path.read_bytes()


def _plain(value):
    if torch.is_tensor(value):
        return value.dtype, value.tolist()
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def differences(one, other, where=""):
    """The places in nested values at which two differ."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in {**one, **other}:
            yield from differences(one.get(key), other.get(key), f"{where}/{key}")
    elif one != other:
        yield where, str(one)[:200], str(other)[:200]


def points(folder):
    from lightning_dice.trajectory_file import NOTE, Trajectory

    return {
        str(note.parent.relative_to(folder)): [
            Trajectory.read(note.parent).weights(i).tolist()
            for i in range(len(Trajectory.read(note.parent)))
        ]
        for note in folder.rglob(NOTE)
    }


def check(work, way, kills, seed):
    """Kill runs of that way at random, and compare each with one that ended by itself."""
    settings, folder = WAYS[way], work / "run"
    status, operations = train(folder, settings)
    assert status == 0
    expected, path = left(folder), points(folder)
    draws = random.Random(f"{seed} {way}")
    for _ in range(kills):
        shutil.rmtree(folder)
        at = draws.randrange(1, operations + 1)
        again = draws.choice([None, draws.randrange(1, operations + 1)])
        status, _ = train(folder, settings, at)
        for kill_at in (again, None):
            if status == -signal.SIGKILL:
                known = (folder / "summary.json").exists()
                status, _ = train(folder, settings + ["ckpt_path=last"] * known, kill_at)
        assert status == 0, (way, at, again)
        now = left(folder)
        assert list(differences(expected, now)) == [], (way, at, again)
        assert points(folder) == path, (way, at, again)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("way", ["windows"])
def test_killed_at_a_random_file_operation(tmp_path, way):
    check(tmp_path, way, kills=3, seed=0)


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("way", WAYS)
def test_killed_at_many_file_operations(tmp_path, way):
    check(tmp_path, way, kills=9, seed=2)
