"""Several processes: the same rolls whatever the world size, and replicas that stay identical."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lightning_dice.records import read_rolls

SCRIPT = Path(__file__).parent / "support" / "ddp_script.py"
pytestmark = pytest.mark.slow


def start(folder, *arguments):
    folder.mkdir()
    path = os.pathsep.join([str(SCRIPT.parents[1]), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [str(part) for part in (sys.executable, SCRIPT, folder, *arguments)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


def run(folder, processes, *arguments):
    done = start(folder, processes, *arguments)
    assert done.returncode == 0, done.stderr
    ranks = [json.loads((folder / f"rank{i}.json").read_text()) for i in range(processes)]
    return ranks, [record.natural for record in read_rolls(folder / "rolls.csv")]


@pytest.mark.parametrize("granularity", ["per_accumulation_step", "per_mini_batch"])
def test_one_and_two_processes_roll_the_same(tmp_path, granularity):
    accumulate = 2  # the toy epoch has an even number of batches on one and on two processes
    one, one_file = run(tmp_path / "one", 1, granularity, accumulate)
    two, two_file = run(tmp_path / "two", 2, granularity, accumulate)
    assert two[0]["rolls"] == two[1]["rolls"] == one[0]["rolls"]
    assert one_file == two_file == one[0]["rolls"]
    assert two[0]["weights"] == two[1]["weights"], "replicas are bit-identical"
    assert two[0]["weights"] != one[0]["weights"], "two processes see twice the data a step"


def test_a_discarded_batch_reaches_no_parameter_that_its_loss_does_not(tmp_path):
    """DDP waits for gradients of what the loss reaches, and of nothing else."""
    ranks, _ = run(tmp_path / "run", 2, "per_mini_batch", 1, "unused")
    assert ranks[0]["weights"] == ranks[1]["weights"]
    assert ranks[0]["weights"][0] == [1.0, 1.0]


def test_updates_of_tensors_are_scaled_alike(tmp_path):
    two, rolled = run(tmp_path / "run", 2, "per_accumulation_step", 1, "tensors")
    assert two[0]["weights"] == two[1]["weights"]
    assert two[0]["rolls"] == two[1]["rolls"] == rolled
    assert len(rolled) == 12 * 4, "a roll for each of four tensors in each of twelve steps"


def test_ranks_that_would_roll_apart_are_refused(tmp_path):
    done = start(tmp_path / "run", 2, "per_accumulation_step", 1, "apart")
    assert done.returncode != 0
    assert done.stderr.count("seed=[6, 7]: the ranks differ") >= 1
    assert not (tmp_path / "run" / "rank0.json").exists()
