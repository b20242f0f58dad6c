"""What a callback knows in the process that started a training in others."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lightning_dice import SavingThrow
from lightning_dice.rules import Roller

TRAINS = """
import json, sys
from lightning_dice import SavingThrow, SavingThrowCallback
from support.toy import Toy, loader, quiet_trainer

if __name__ == "__main__":
    strategy, scope = sys.argv[1:]
    throw = SavingThrow("d20", threshold=10)
    dice = [SavingThrowCallback(throw, seed=7, scope=scope), SavingThrowCallback(throw)]
    quiet_trainer(dice, max_steps=6, devices=2, strategy=strategy).fit(Toy(), loader())
    told = [
        {
            "seed": one.seed,
            "settings": one.settings["seed"],
            "naturals": [record.natural for record in one.rolls.recent],
            "rolls": one.rolls.tally.rolls,
            "mean": one.rolls.tally.mean_scale,
            "last": str(one.last_roll),
        }
        for one in dice
    ]
    print(json.dumps(told))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("strategy", "scope"), [("ddp_spawn", "model"), ("ddp_notebook", "tensor")]
)
def test_rolls_and_seed_come_back(tmp_path, strategy, scope):
    script = tmp_path / "trains.py"
    script.write_text(TRAINS)
    tests = str(Path(__file__).parents[1])
    done = subprocess.run(
        [sys.executable, script, strategy, scope],
        env={**os.environ, "PYTHONPATH": tests, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    first, second = json.loads(done.stdout.splitlines()[-1])
    throw, slots = SavingThrow("d20", threshold=10), 4 if scope == "tensor" else 1
    assert first["seed"] == first["settings"] == 7
    assert first["rolls"] == len(first["naturals"]) == 6 * slots
    if scope == "model":
        assert first["naturals"] == Roller(throw, 7).naturals(0, 6).tolist()
        assert first["last"] == str(throw.resolve(first["naturals"][-1]))
    scales = [throw.resolve(natural).scale or 0 for natural in first["naturals"]]
    assert first["mean"] == pytest.approx(sum(scales) / len(scales))
    assert second["seed"] == second["settings"] is not None
    assert second["rolls"] == 6
