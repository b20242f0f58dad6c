"""Trains a toy through every loop that dice are used from, on GPUs, and writes a row for each way.

    python experiments/other-loops/study.py --out FOLDER                   # one GPU
    python experiments/other-loops/study.py --processes 2 --out FOLDER     # and two
    python experiments/other-loops/study.py --device cpu --processes 2 --out FOLDER   # a trial

Each loop is held against Lightning's Trainer, on one device against it in the same precision, and
on two against it on one processor. Rows are appended to ``FOLDER/rows.jsonl`` as they come.
"""

from __future__ import annotations

import argparse
import datetime
import itertools
import json
import os
import platform
import subprocess
import sys
import tempfile
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import accelerate
import lightning
import torch
import torch.distributed as dist
import transformers

HERE = Path(__file__).resolve()
sys.path.insert(0, str(HERE.parents[2] / "tests"))

from adapters.loops import LOOPS, Case  # noqa: E402
from distributed.cases import DICE, SEED, THROW  # noqa: E402
from distributed.loops import GPU_WAYS, WAYS, loops, share  # noqa: E402
from distributed.reference import by_hand, distance, one_process  # noqa: E402
from distributed.worker import whole  # noqa: E402
from support.by_hand import apart  # noqa: E402

SETTINGS: dict[str, dict[str, Any] | None] = {
    "none": None,
    "gradient": {},
    "update": {"target": "update"},
    "gradients of tensors": {"scope": "tensor"},
    "updates of tensors": {"target": "update", "scope": "tensor"},
    "mini-batch": {"granularity": "per_mini_batch"},
}
TOGETHER = {name: own for name, own in DICE.items() if name not in ("ones", "updates_of_weights")}


def one_device(device: str) -> Iterator[dict[str, Any]]:
    """A row for each precision, optimizer, kind of dice and loop but Lightning's."""
    precisions = ("32-true", "bf16-mixed") + (("16-mixed",) if device == "cuda" else ())
    for precision, fused, name in itertools.product(precisions, (False, True), SETTINGS):
        case = Case(SETTINGS[name], precision=precision, device=device, fused=fused)
        if name in ("none", "gradient", "update") and not (fused and precision != "32-true"):
            case = case._replace(accumulate=2, clip=0.3)  # which Lightning refuses of the others
        with tempfile.TemporaryDirectory() as folder:
            expected = LOOPS["lightning"](case, Path(folder))
            for loop in LOOPS.keys() - {"lightning"}:
                row = {
                    "loop": loop,
                    "processes": 1,
                    "precision": precision,
                    "optimizer": "AdamW fused" if fused else "AdamW",
                    "dice": name,
                }
                try:
                    result = LOOPS[loop](case, Path(folder))
                    row |= {
                        "rolls_agree": result.rolls == expected.rolls,
                        "rolls": len(result.rolls),
                        "difference": apart(result.weights, expected.weights),
                    }
                except Exception as error:
                    row["error"] = f"{type(error).__name__}: {error}"[:300]
                yield row


def several(processes: int, device: str, out: Path) -> None:
    """Start the processes, which write their own rows."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += [f"--nproc-per-node={processes}", str(HERE), "--device", device, "--out", str(out)]
    for way in GPU_WAYS if device == "cuda" else WAYS:
        done = subprocess.run([*command, "--way", way], timeout=240, check=False)  # noqa: S603
        if done.returncode:
            append(out, {"loop": way, "processes": processes, "error": f"exit {done.returncode}"})


def rank(way: str, device: str, out: Path) -> None:
    """What one of several processes does: all kinds of dice in one way."""
    me, processes = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    if device == "cuda":
        torch.cuda.set_device(me)
        device = f"cuda:{me}"
    trainings = loops(TOGETHER, THROW, SEED, {way: GPU_WAYS[way]})
    for name, (train, settings) in trainings.items():
        kind = name.removeprefix(f"{way}-")
        row = {"loop": way, "processes": processes, "precision": "32-true", "dice": kind}
        with tempfile.TemporaryDirectory() as folder:
            try:
                trained = train(settings, share(me, processes, device), Path(folder))
            except Exception as error:
                traceback.print_exc()
                append(out, {**row, "error": f"{type(error).__name__}: {error}"[:300]}, me)
                continue
        weights = [whole(parameter) for parameter in trained.parameters]
        rolls = [] if trained.dice is None else list(trained.dice.rolls.recent)
        rolled = [(r.batch, r.optimizer, r.slot, r.natural) for r in rolls]
        everybody: list[Any] = [None] * processes
        dist.all_gather_object(everybody, (weights, rolled))
        if kind == "mini_batch_apart":
            expected, wanted = by_hand(processes), rolled
        else:
            expected, wanted = one_process(DICE[kind])
        flat = way in ("fabric_fsdp", "hf_fsdp")  # whose parameters are one vector, in shards
        row |= {
            "rolls_agree": rolled == wanted and all(own == rolled for _, own in everybody),
            "rolls": len(rolled),
            "replicas_agree": flat or all(own == weights for own, _ in everybody),
            "difference": _flat(everybody, expected) if flat else distance(weights, expected),
            "messages": trained.messages[-1],
        }
        append(out, row, me)
    if dist.is_initialized():
        dist.destroy_process_group()


def _flat(everybody: list[Any], expected: list[list[float]]) -> float | None:
    """The difference of shards that lie one after another, padded at the end; if they do."""
    ours = [value for weights, _ in everybody for own in weights for value in own]
    theirs = [value for own in expected for value in own]
    if len(ours) < len(theirs):
        return None
    return max(abs(a - b) for a, b in zip(ours, theirs, strict=False))


def append(out: Path, row: dict[str, Any], rank: int = 0) -> None:
    """Write a row, on one of the ranks."""
    if rank == 0:
        with (out / "rows.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")


def machine(device: str, processes: int) -> str:
    """Versions, machine, date and command."""
    kind = torch.cuda.get_device_name() if device == "cuda" else platform.processor() or "CPU"
    return (
        f"{processes} x {kind}\nPython {platform.python_version()}, torch {torch.__version__}, "
        f"Lightning {lightning.__version__}, transformers {transformers.__version__}, "
        f"accelerate {accelerate.__version__}\n{datetime.date.today().isoformat()}\n"
        f"python {' '.join(sys.argv)}\n"
    )


def main() -> None:
    """Run the study, or one rank of it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--way")
    chosen = parser.parse_args()
    warnings.filterwarnings("ignore")
    if chosen.way:
        rank(chosen.way, chosen.device, chosen.out)
        return
    chosen.out.mkdir(parents=True, exist_ok=True)
    all_gpus = os.environ.get("CUDA_VISIBLE_DEVICES")
    os.environ["CUDA_VISIBLE_DEVICES"] = "0"  # a Trainer of HuggingFace's would take more
    for row in one_device(chosen.device):
        append(chosen.out, row)
    (chosen.out / "machine.txt").write_text(machine(chosen.device, chosen.processes))
    os.environ.pop("CUDA_VISIBLE_DEVICES")
    if all_gpus is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = all_gpus
    if chosen.processes > 1:
        several(chosen.processes, chosen.device, chosen.out)


if __name__ == "__main__":
    main()
