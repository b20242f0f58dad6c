"""Whatever a folder of somebody else holds, commands answer in time, and nothing of it runs."""

import resource
import shutil
import signal
import sys

import pytest
from click.testing import CliRunner
from hydra.core.global_hydra import GlobalHydra

from lightning_dice.app.train import train
from lightning_dice.cli import main
from support.composing import compose_train
from support.hostile import Hostile
from support.plugins import looked_up_once

pytestmark = [pytest.mark.skipif(not hasattr(signal, "SIGALRM"), reason="has no alarms")]
SETTINGS = [
    *["experiment=digits", "trainer.max_steps=6", "trainer.val_check_interval=3"],
    *["trainer.log_every_n_steps=2", "trainer.limit_val_batches=1", "logger=none"],
    *["report=false", "checkpoints=true", "trajectory=3", "model.channels=4", "progress=false"],
]
CHOICES = {"data": "digits", "model": "cnn", "optimizer": "sgd"}
COMMANDS = {
    "report": [],
    "stress": ["--device=cpu", "--examples=4"],
    "landscape": ["--device=cpu", "--examples=4", "--grid=3"],
    "tolerance": [],
}
SECONDS = 60
"""Most time of one command, on a busy machine."""
GROWTH = 800 * 10**6
"""Most bytes of memory that all commands of one folder may add to the largest need so far."""
UNIT = 1 if sys.platform == "darwin" else 1024


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """A folder of four runs, never changed."""
    folder = tmp_path_factory.mktemp("real")
    with looked_up_once():
        for control in ("none", "plain"):
            for seed in (0, 1):
                given = [*SETTINGS, f"control={control}", f"seed={seed}"]
                train(compose_train(*given), folder / f"control={control},seed={seed}", CHOICES)
    GlobalHydra.instance().clear()
    return folder


class TooLong(BaseException):
    """A command that has not ended in time; nothing catches it."""


def run(arguments):
    """Run a command within its time; its result."""

    def stop(*_):
        raise TooLong(arguments)

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(SECONDS)
    try:
        return CliRunner().invoke(main, arguments)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def check(real, tmp_path, monkeypatch, seed, commands):
    """Make a hostile folder of the real one; each command answers, or refuses in a line."""
    outside, canary = tmp_path / "outside", tmp_path / "canary"
    outside.mkdir()
    (outside / "secret").write_text("hunter2")
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    runs = tmp_path / "cwd" / "runs"
    shutil.copytree(real, runs)
    hostile = Hostile(seed, canary, outside)
    folders = sorted(runs.iterdir())
    worst = hostile.random.choice(folders)
    done = [hostile.change(worst) for _ in range(hostile.random.choice([1, 1, 2, 4]))]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for command in commands:
        alone = command != "tolerance" and hostile.random.random() < 0.6
        folder = worst if alone else runs
        arguments = [command, *COMMANDS[command], str(folder.relative_to(tmp_path / "cwd"))]
        what = (seed, done, arguments)
        result = run(arguments)
        if not isinstance(result.exception, SystemExit | None):
            raise AssertionError(what) from result.exception
        assert result.exit_code in (0, 2), (what, result.output)
        if result.exit_code:
            assert len(result.stderr.splitlines()) == 1, (what, result.stderr)
            assert len(result.stderr) < 4000, what
        assert "hunter2" not in result.output, what
        assert not canary.exists(), what
        assert [path.name for path in outside.iterdir()] == ["secret"], what
        assert (outside / "secret").read_text() == "hunter2", what
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak) * UNIT
    assert grown < GROWTH, (seed, done, grown)


@pytest.mark.parametrize("seed", range(12))
def test_folders(real, tmp_path, monkeypatch, seed):
    check(real, tmp_path, monkeypatch, seed, [list(COMMANDS)[seed % len(COMMANDS)]])


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(1000, 1200))
def test_many_folders(real, tmp_path, monkeypatch, seed):
    check(real, tmp_path, monkeypatch, seed, COMMANDS)
