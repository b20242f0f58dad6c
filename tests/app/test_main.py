"""The command line as a user has it: real processes, real errors, no traceback."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from lightning_dice.extras import install_command
from lightning_dice.records import read_rolls
from support.commands import COMMAND, Command, environment, run

QUICK = [
    "experiment=digits",
    "trainer.max_steps=6",
    "trainer.val_check_interval=3",
    "trainer.log_every_n_steps=2",
]
TORCHRUN = {"TORCHELASTIC_RUN_ID": "1", "RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "2"}
SLURM = {"SLURM_NTASKS": "2", "SLURM_STEP_NUM_TASKS": "2", "SLURM_PROCID": "1"}
SLURM |= {"SLURM_LOCALID": "1", "SLURM_JOB_NAME": "x", "SLURM_NTASKS_PER_NODE": "2"}
"""What somebody who starts several processes tells the second of them."""


def command(*arguments, cwd, check=True, variables=(), fresh=False):
    done = run(arguments, cwd, variables, fresh=fresh)
    if check:
        assert done.returncode == 0, done.stderr
    return done


@pytest.mark.slow
class TestCommand:
    def test_a_run_prints_progress_lines_and_where_its_report_is(self, tmp_path):
        """The script itself: what it imports says nothing either."""
        done = subprocess.run(
            [str(COMMAND), *QUICK, "logger=csv", "hydra.run.dir=out"],
            cwd=tmp_path,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        lines = done.stdout.splitlines()
        assert [line.split()[:2] for line in lines[:2]] == [["step", "3/6"], ["step", "6/6"]]
        assert lines[2].startswith("validation accuracy ")
        assert "(commonest digit 0.0" in lines[2]
        assert lines[3].startswith("6 rolls, observed scale of gradients ")
        assert lines[4:] == [f"report: {Path('out/report.html')}"]
        assert "\x1b" not in done.stdout, "no escape codes in a log file"
        assert done.stderr == ""

    def test_a_sweep_runs_every_combination(self, tmp_path):
        sweep = ["threshold=easy,12", "seed=0,1", "hydra.sweep.dir=sweep", "logger=none"]
        sweep.append("report=false")
        command("-m", *QUICK, *sweep, cwd=tmp_path)
        summaries = [
            json.loads(path.read_text()) for path in sorted(tmp_path.glob("sweep/*/summary.json"))
        ]
        arms = [(summary["dice"]["threshold"], summary["seed"]) for summary in summaries]
        assert sorted(arms) == [(5, 0), (5, 1), (12, 0), (12, 1)]
        assert {summary["status"] for summary in summaries} == {"finished"}
        assert {summary["dice"]["seed"] for summary in summaries} == {0, 1}

    @pytest.mark.parametrize("variables", [TORCHRUN, SLURM], ids=["torchrun", "srun"])
    def test_a_sweep_in_several_processes_is_refused(self, tmp_path, variables):
        done = command("-m", *QUICK, "seed=0,1", cwd=tmp_path, check=False, variables=variables)
        assert done.returncode == 1
        assert "start it without torchrun or srun: lightning-dice-train -m" in done.stderr
        assert not list(tmp_path.iterdir())

    def test_tasks_that_lightning_cannot_use_are_refused_in_a_line(self, tmp_path):
        tasks = {name: value for name, value in SLURM.items() if name != "SLURM_NTASKS_PER_NODE"}
        done = command(*QUICK, cwd=tmp_path, check=False, variables=tasks)
        assert done.returncode == 1
        assert done.stderr.startswith("SLURM='2 tasks'")
        assert "Use `--ntasks-per-node=2` instead" in done.stderr

    def test_what_a_signal_ends_has_its_exit_status(self, tmp_path):
        arguments = [*QUICK, "trainer.max_steps=1000000", "hydra.run.dir=out", "report=false"]
        started = Command(arguments, tmp_path)
        try:
            while started.poll() is None and len(started.stdout().splitlines()) < 3:
                time.sleep(0.02)
            os.kill(started.pid, signal.SIGTERM)  # it trains
            assert started.wait(60) == 128 + signal.SIGTERM
        finally:
            started.kill()
        summary = json.loads((tmp_path / "out/summary.json").read_text())
        assert summary["status"] == "interrupted"

    def test_two_processes_roll_what_one_does(self, tmp_path):
        both = [*QUICK, "logger=none"]
        ddp = ["trainer=ddp", "trainer.accelerator=cpu"]
        command(*both, "report=false", "hydra.run.dir=one", cwd=tmp_path)
        command(*both, *ddp, "hydra.run.dir=two", cwd=tmp_path, fresh=True)
        one, two = (list(read_rolls(tmp_path / name / "rolls.csv")) for name in ("one", "two"))
        assert one == two
        assert json.loads((tmp_path / "two/summary.json").read_text())["status"] == "finished"
        assert (tmp_path / "two/report.html").exists()

    @pytest.mark.parametrize(
        ("argument", "message"),
        [
            ("threshold=abc", "threshold='abc': expected a whole number from 1 to 20"),
            (
                "trainer.max_steps=abc",
                "Value 'abc' of type 'str' could not be converted to Integer",
            ),
            ("threshold=99", "threshold=99: unreachable, as d20 totals at most 20"),
            ("die=dX", "die='dX': expected dice notation such as d20"),
            ("trainer.max_stepz=3", "Key 'max_stepz' not in 'TrainerConfig'"),
            ("data=letters", "Could not find 'data/letters'"),
            ("hydra/launcher=ray", f"Its plugin is missing; {install_command('ray')}"),
            ("hydra.run.dir=file/out", "the output folder is chosen by hydra.run.dir"),
        ],
    )
    def test_bad_input_is_one_clear_message(self, tmp_path, argument, message):
        (tmp_path / "file").write_text("in the way")
        done = command(*QUICK, argument, cwd=tmp_path, check=False)
        assert done.returncode == 1
        assert message in done.stderr
        assert "Traceback" not in done.stderr
        said = [line for line in done.stderr.splitlines() if not line.startswith(" " * 8)]
        assert len(said) <= 4, "but for the options that there are"
        assert done.stdout == ""
