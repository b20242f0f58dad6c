"""Training goes on when nobody reads what it prints."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

BIN = Path(sys.executable).parent

JOB = ["experiment=digits", "trainer.max_steps=6", "trainer.val_check_interval=1"]
JOB += ["trainer.limit_val_batches=1", "logger=none", "report=false", "hydra.run.dir=run"]
WAYS = {"a reader that leaves": "| head -1 >/dev/null", "a full disk": ">/dev/full 2>&1"}
WAYS |= {"closed": ">&- 2>&-"}


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_printing_stops_and_training_goes_on(tmp_path, way):
    words = " ".join([str(BIN / "lightning-dice-train"), *JOB])
    command = f"set -o pipefail; {words} {WAYS[way]}"
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, check=False)
    assert done.returncode == 0
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert (summary["status"], summary["steps"]) == ("finished", 6)


@pytest.mark.slow
def test_a_folder_that_is_gone_is_named_in_one_line(tmp_path):
    command = f"mkdir gone; cd gone; rmdir ../gone; {BIN / 'lightning-dice-train'}"
    done = subprocess.run(
        ["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert line.startswith("the folder that this command was given in is gone")
