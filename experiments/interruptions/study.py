"""Kills runs of two processes at random moments, lets them go on, and looks where they end.

    python experiments/interruptions/study.py --kills 50 --each 1
    python experiments/interruptions/study.py --kills 50 --each 4

A run is killed, and goes on by ``ckpt_path=last``, until it has been killed as often as it is to
be; then it is left alone to its end, which is compared with the end of a run that nobody killed.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import os
import platform
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

FOLDER = Path(__file__).parent
RUN = [
    "experiment=digits",
    "trainer=ddp",
    "trainer.accelerator=cpu",
    "logger=none",
    "model.dropout=0.2",
    "data.batch_size=64",
    "trainer.max_steps=110",
    "trainer.log_every_n_steps=3",
]
WAYS = {
    "gradients": ["trainer.val_check_interval=5"],
    "updates of tensors": ["target=update", "scope=tensor", "trainer.val_check_interval=4"],
    "mini-batches, independent": [
        "granularity=per_mini_batch",
        "dice.ranks=independent",
        "trainer.accumulate_grad_batches=2",
        "trainer.val_check_interval=3",
    ],
}
"""Epochs have 11 mini-batches on two processes: most checkpoints are made within one."""
VICTIMS = ("the whole group", "the parent", "rank 0", "rank 1")
PATIENCE = 120
COLUMNS = ("run", "dice", "kill", "signal", "victim", "after_s", "step", "same_end")


class Kill(NamedTuple):
    """One interruption: of whom, how, and how long after what."""

    number: int
    signal: signal.Signals
    victim: str
    while_starting: bool
    after: float


def draw(number: int, rng: random.Random) -> Kill:
    """A kill; one in eight while processes start, one in five asks instead of kills."""
    how = signal.SIGTERM if rng.random() < 0.2 else signal.SIGKILL
    return Kill(number, how, rng.choice(VICTIMS), rng.random() < 0.125, rng.random())


def start(folder: Path, way: str) -> subprocess.Popen[bytes]:
    """Begin, or go on with what has begun."""
    goes_on = (folder / "summary.json").exists()
    command = [sys.executable, "-m", "lightning_dice.app", *RUN, *WAYS[way]]
    command += [f"hydra.run.dir={folder}", *(["ckpt_path=last"] if goes_on else [])]
    folder.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f"{folder.name}.log").open("ab") as log:
        return subprocess.Popen(  # noqa: S603 - our own command
            command,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )


def workers(parent: int) -> dict[int, int]:
    """The processes that train, by rank."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
                environment = (entry / "environ").read_bytes().split(b"\0")
            except OSError:
                continue
            if b"lightning_dice.app.worker" in words and words[-2] == str(parent).encode():
                rank = next((v[5:] for v in environment if v.startswith(b"RANK=")), b"-1")
                found[int(rank)] = int(entry.name)
    return found


def last_step(folder: Path) -> int:
    """The newest step on record, -1 before the first."""
    try:
        lines = (folder / "rolls.csv").read_text(encoding="utf-8").splitlines()
        return int(lines[-1].split(",")[0])
    except (OSError, IndexError, ValueError):
        return -1


def interrupt(folder: Path, way: str, kill: Kill) -> dict[str, Any]:
    """Start the run and interrupt it; what became of it."""
    run = start(folder, way)
    began = time.monotonic()
    changed = _stamp(folder)
    # Training has begun again when it has written to the record; it is over in a second or two.
    while run.poll() is None and time.monotonic() - began < PATIENCE:
        if kill.while_starting and time.monotonic() - began > 8 * kill.after:
            break
        if not kill.while_starting and _stamp(folder) != changed:
            time.sleep(2.0 * kill.after)
            break
        time.sleep(0.005)
    ranks = workers(run.pid)
    if run.poll() is None:
        if kill.victim == "the whole group":
            os.killpg(run.pid, kill.signal)
        elif kill.victim == "the parent" or not ranks:
            os.kill(run.pid, kill.signal)
        else:
            os.kill(ranks[max(ranks) if kill.victim == "rank 1" else min(ranks)], kill.signal)
    after = time.monotonic() - began
    try:
        run.wait(PATIENCE)
    finally:
        alive = _wait_for_end(run.pid)
    return {"after_s": round(after, 2), "step": last_step(folder), "orphans": alive}


def _wait_for_end(parent: int) -> int:
    """How many of its processes train on although it is gone."""
    for _ in range(100):
        if not workers(parent):
            return 0
        time.sleep(0.1)
    return len(workers(parent))


def _stamp(folder: Path) -> int:
    try:
        return (folder / "rolls.csv").stat().st_mtime_ns
    except OSError:
        return 0


def finish(folder: Path, way: str) -> None:
    """Let the run go on to its end."""
    run = start(folder, way)
    try:
        code = run.wait(PATIENCE)
    finally:
        run.kill()
    if code:
        log = (folder.parent / f"{folder.name}.log").read_text(encoding="utf-8")
        raise RuntimeError(f"the run ended with {code}: {log[-2000:]}")


def differences(ours: Path, theirs: Path) -> list[str]:
    """What of two finished runs is not the same, bit by bit."""
    import torch

    found = []
    checkpoints = [
        torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
        for folder in (ours, theirs)
    ]
    for part in ("state_dict", "optimizer_states", "lr_schedulers", "global_step"):
        if not _same(*(checkpoint[part] for checkpoint in checkpoints)):
            found.append(part)
    for name in ("rolls.csv", "metrics.csv"):
        if (ours / name).read_bytes() != (theirs / name).read_bytes():
            found.append(name)
    return found


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(_same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(_same, a, b))
    return a.equal(b) if hasattr(a, "equal") else a == b


def study(kills: int, each: int, seed: int, scratch: Path) -> Iterator[dict[str, Any]]:
    """Rows: one for each kill, with whether its run ended as the one that nobody killed."""
    rng = random.Random(seed)  # noqa: S311 - nothing secret
    references: dict[str, Path] = {}
    number = 0
    while number < kills:
        way = list(WAYS)[(number // each) % len(WAYS)]
        if way not in references:
            references[way] = scratch / f"straight-{len(references)}"
            finish(references[way], way)
        folder = scratch / f"run-{number // each}"
        rows = []
        for _ in range(min(each, kills - number)):
            kill = draw(number, rng)
            happened = interrupt(folder, way, kill)
            if happened["orphans"]:
                raise RuntimeError(f"{happened['orphans']} processes went on after {kill}")
            rows.append((kill, happened))
            number += 1
        finish(folder, way)
        found = differences(folder, references[way])
        for kill, happened in rows:
            yield {
                "run": folder.name,
                "dice": way,
                "kill": kill.number,
                "signal": kill.signal.name,
                "victim": kill.victim,
                "after_s": happened["after_s"],
                "step": happened["step"],
                "same_end": "yes" if not found else " ".join(found),
            }


def machine() -> str:
    """What it ran on, and when."""
    import lightning
    import torch

    return (
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, torch "
        f"{torch.__version__}, Lightning {lightning.__version__}, {datetime.date.today()}"
    )


def main() -> None:
    """Run the study from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--each", type=int, default=4, help="kills of one run")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=FOLDER)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / f"kills-{options.each}-a-run.csv"
    runs, wrong = set(), set()
    with TemporaryDirectory() as scratch, path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        rows.writeheader()
        for row in study(options.kills, options.each, options.seed, Path(scratch)):
            rows.writerow(row)
            file.flush()
            runs.add(row["run"])
            if row["same_end"] != "yes":
                wrong.add(row["run"])
    counts = f"{options.kills} kills of {len(runs)} runs, {len(wrong)} with another end"
    summary = f"{counts}; {machine()}"
    path.with_suffix(".txt").write_text(summary + "\n", encoding="utf-8")
    print(summary)  # noqa: T201
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
