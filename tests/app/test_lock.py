"""One process at a time in the folder of a run."""

import json
import os
import signal
import subprocess
import sys

import pytest

from lightning_dice.app.lock import LOCK, Held, clear, holder, holding
from lightning_dice.rules import SettingError

HOLDS = """
import sys, time
from pathlib import Path
from lightning_dice.app.lock import holding
with holding(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def another(tmp_path):
    """A process that holds the folder."""
    words = [sys.executable, "-c", HOLDS, str(tmp_path)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_folder_is_held_once_and_left_as_it_was(tmp_path):
    with holding(tmp_path), holding(tmp_path):
        about = json.loads((tmp_path / LOCK).read_text())
        assert about["pid"] == os.getpid()
        assert holder(tmp_path) is not None
    assert list(tmp_path.iterdir()) == []
    assert holder(tmp_path) is None


def test_another_process_is_named(tmp_path, another):
    words = rf"is held by process {another.pid} on \S+ since 20"
    with pytest.raises(Held, match=words) as caught, holding(tmp_path):
        pass
    assert caught.value.setting == "hydra.run.dir"
    assert holder(tmp_path).startswith(f"process {another.pid} ")


def test_a_killed_process_holds_nothing(tmp_path, another):
    another.send_signal(signal.SIGKILL)
    another.wait()
    assert (tmp_path / LOCK).exists()
    assert holder(tmp_path) is None
    with holding(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_is_cleared(tmp_path, another):
    clear(tmp_path)
    assert (tmp_path / LOCK).exists(), "it trains"
    another.kill()
    another.wait()
    clear(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_whoever_waits_is_told_and_gets_it(tmp_path, another):
    told = []

    def waits(who):
        told.append(who)
        another.kill()

    with holding(tmp_path, waits):
        assert json.loads((tmp_path / LOCK).read_text())["pid"] == os.getpid()
    [who] = told
    assert who.startswith(f"process {another.pid} ")


def test_a_run_is_refused_where_another_process_trains(tmp_path, another, run):
    (tmp_path / "run").symlink_to(tmp_path)  # by whatever name
    with pytest.raises(Held, match=f"held by process {another.pid}"):
        run()
    assert sorted(path.name for path in tmp_path.iterdir()) == [LOCK, "run"]


def test_a_folder_that_is_none(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(SettingError, match="cannot be written"), holding(tmp_path / "file"):
        pass
