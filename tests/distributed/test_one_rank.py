"""Dice on some ranks only: an error that names the others, where a message would wait for them."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from distributed.group import free_port

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

TRAINS = """
import os, sys, warnings
from datetime import timedelta
from lightning.pytorch.strategies import DDPStrategy
from lightning_dice import SavingThrow, SavingThrowCallback
from support.toy import Toy, loader, quiet_trainer

warnings.filterwarnings("ignore")
rank, counts = int(os.environ["RANK"]), [int(count) for count in sys.argv[1].split(",")]
dice = [SavingThrowCallback(SavingThrow("d20", 10 + n), seed=1) for n in range(counts[rank])]
strategy = DDPStrategy(process_group_backend="gloo", timeout=timedelta(minutes=30))
quiet_trainer(dice, max_steps=4, devices=2, strategy=strategy).fit(Toy(), loader())
"""
LOOPS = """
import os, sys
import torch
import torch.distributed as dist
from lightning_dice.roll_call import absent, check_present

rank = int(os.environ["RANK"])
dist.init_process_group("gloo")
late = [] if rank else [absent("a", 2, 0.1)]
dist.barrier()
late = late or [absent("a", 2, 0.1)]
assert late == [[1]], late
assert absent("a", 2, 200) == [], "asked anew, and all are there"
dist.barrier()
if rank == 0:
    check_present("attach", "dice", "b", 2, seconds=0.1)
"""


def ranks(tmp_path, text, *arguments, all_end=False):
    """What each of two ranks ends with: its exit status and its last words."""
    script = tmp_path / "trains.py"
    script.write_text(text)
    shared = {
        **os.environ,
        "PYTHONPATH": str(Path(__file__).parents[1]),
        "OMP_NUM_THREADS": "1",
        "TORCHELASTIC_RUN_ID": "tests",
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(free_port()),
    }
    command = [sys.executable, str(script), *arguments]
    started = []
    try:
        for rank in ("0", "1"):
            own = {**shared, "RANK": rank, "LOCAL_RANK": rank}
            with (tmp_path / f"{rank}.log").open("w") as log:
                started.append(
                    subprocess.Popen(
                        command, env=own, stdout=log, stderr=log, start_new_session=True
                    )
                )
        # Of ranks that train together a launcher ends all, once one has ended by an error.
        enough = all if all_end else any
        while not enough(one.poll() is not None for one in started):
            time.sleep(0.1)
    finally:
        for one in started:
            with suppress(ProcessLookupError):
                os.killpg(one.pid, signal.SIGKILL)
            one.wait()
    return [(tmp_path / f"{rank}.log").read_text() for rank in (0, 1)]


@pytest.mark.parametrize(
    ("counts", "has", "lacks"), [("0,1", 1, 0), pytest.param("2,1", 0, 1, marks=pytest.mark.long)]
)
def test_a_callback_on_one_rank_is_refused(tmp_path, counts, has, lacks):
    words = ranks(tmp_path, TRAINS, counts)
    assert f"callbacks='SavingThrowCallback': rank {lacks} has none" in words[has]
    assert "give every rank the same" in words[has]


def test_all_ranks_that_ask_get_one_answer(tmp_path):
    words = ranks(tmp_path, LOOPS, all_end=True)
    assert "attach='dice': rank 1 has none" in words[0]
    assert "Error" not in words[1]
