"""A short form of ``experiments/interruptions``: kills, a failing rank, a disk without room."""

import importlib.util
import json
import os
import signal
import time
from pathlib import Path

import pytest

from lightning_dice.records import read_rolls
from support import commands

FILE = Path(__file__).parents[2] / "experiments" / "interruptions" / "study.py"
SPEC = importlib.util.spec_from_file_location("interruptions", FILE)
study = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(study)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]
if not Path("/proc").is_dir():
    pytestmark.append(pytest.mark.skip(reason="finds processes in /proc"))


def begin(folder, *settings, before=""):
    folder.mkdir(parents=True, exist_ok=True)
    words = [*study.RUN, "report=false", f"hydra.run.dir={folder}", *settings]
    return commands.Command(words, folder.parent, before=before)


def test_killed_runs_end_where_they_would_have(tmp_path, monkeypatch):
    """As the study has it, in less time."""
    begun = {}

    def start(folder, way):
        goes_on = ["ckpt_path=last"] if (folder / "summary.json").exists() else []
        command = begin(folder, *study.WAYS[way], *goes_on)
        return begun.setdefault(command.pid, command)

    monkeypatch.setattr(study, "start", start)
    monkeypatch.setattr(study, "workers", lambda pid: begun[pid].ranks())
    rows = list(study.study(kills=3, each=3, seed=1, scratch=tmp_path))
    assert [row["same_end"] for row in rows] == ["yes"] * 3
    rolls = list(read_rolls(tmp_path / "run-0" / "rolls.csv"))
    assert [roll.step for roll in rolls] == list(range(110)), "no gap and no repeat"
    assert not list((tmp_path / "run-0" / "checkpoints").glob("*.part")), "cleared away"


@pytest.mark.parametrize("rank", [0, 1])
def test_a_rank_that_is_asked_to_end_takes_the_others_with_it(tmp_path, rank):
    process = begin(tmp_path / "run", *study.WAYS["gradients"])
    try:
        while process.poll() is None and study.last_step(tmp_path / "run") < 0:
            time.sleep(0.05)
        os.kill(process.ranks()[rank], signal.SIGTERM)
        assert process.wait(60) == 128 + signal.SIGTERM
    finally:
        process.kill()
    assert not process.ranks()
    summary = json.loads((tmp_path / "run/summary.json").read_text())
    assert (summary["status"], summary["error"]) == ("interrupted", "stopped by SIGTERM")


@pytest.mark.parametrize("step", ["training_step", "validation_step"])
def test_a_rank_that_fails_ends_all_of_them_and_is_named(tmp_path, step):
    """Also where others wait for what it would have sent them, such as a mean over ranks."""
    # Rank 1 breaks at the third mini-batch.
    breaks = (
        "import os\n"
        "from lightning_dice.app.models.cnn import ImageClassifier\n"
        f"whole = ImageClassifier.{step}\n"
        "def broken(self, batch, index):\n"
        "    if os.environ['RANK'] == '1' and index == 2: raise ArithmeticError('a cosmic ray')\n"
        "    return whole(self, batch, index)\n"
        f"ImageClassifier.{step} = broken\n"
    )
    settings = ["trainer.val_check_interval=5", "data.batch_size=16"]
    process = begin(tmp_path / "run", *settings, before=breaks)
    done = process.communicate()
    assert done.returncode == 1
    said = done.stderr.splitlines()
    assert any(line.endswith("rank 1: ArithmeticError: a cosmic ray") for line in said)
    summary = json.loads((tmp_path / "run/summary.json").read_text())
    assert summary["status"] == "failed"
    assert summary["error"] == "rank 1: ArithmeticError: a cosmic ray"
    assert not process.ranks()


def test_a_disk_without_room_is_said_and_the_run_goes_on_later(tmp_path):
    one = ["trainer=cpu", "trainer.max_steps=12", "trainer.val_check_interval=4"]

    def run(name, *more, before=""):
        return begin(tmp_path / name, *one, *more, before=before).communicate().returncode

    assert run("straight") == 0
    size = (tmp_path / "straight/checkpoints/last.ckpt").stat().st_size
    full = (
        "import resource, lightning_dice.app.checkpoints as c\n"
        "save = c.WholeFiles.save_checkpoint\n"
        "def late(self, checkpoint, path, storage_options=None):\n"
        "    if checkpoint['global_step'] > 4:\n"
        f"        room = ({size // 2}, resource.RLIM_INFINITY)\n"
        "        resource.setrlimit(resource.RLIMIT_FSIZE, room)\n"
        "    return save(self, checkpoint, path, storage_options)\n"
        "c.WholeFiles.save_checkpoint = late\n"
    )
    assert run("full", before=full) == 1
    assert json.loads((tmp_path / "full/summary.json").read_text())["status"] == "failed"
    assert run("full", "ckpt_path=last") == 0
    assert study.differences(tmp_path / "full", tmp_path / "straight") == []
