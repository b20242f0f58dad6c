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


def run(folder, processes, granularity, accumulate):
    folder.mkdir()
    path = os.pathsep.join([str(SCRIPT.parents[1]), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, SCRIPT, folder, processes, granularity, accumulate]
    done = subprocess.run(
        [str(part) for part in command],
        env=environment,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
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
