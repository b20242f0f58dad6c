"""What dice cost on a GPU, with GPT-2 in Lightning: every part is one command of a few minutes.

    python benchmarks/gpu.py 124m            # time
    python benchmarks/gpu.py alone           # memory, synchronisations
    python benchmarks/gpu.py skip            # discarded updates left out
    python benchmarks/gpu.py 1.5b
    torchrun --nproc-per-node 2 benchmarks/gpu.py ddp

Everything is on: rolls are recorded and metrics logged every 50 steps. Each part writes a file of
its own into benchmarks/results.
"""

from __future__ import annotations

import argparse
import gc
import os
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from lightning.pytorch import Callback, LightningModule
from peers import DICE, PEERS, dice
from ratios import AGAIN, Through, in_turns, ratios, show, write
from torch.utils.data import DataLoader, TensorDataset
from training import Rows, fit
from transformers import GPT2Config, GPT2LMHeadModel

from lightning_dice import SavingThrow

WAITS = ("Synchronize", "DtoH")
"""What in a profile says that the processor waits for the GPU."""
MESSAGES = ("nccl", "c10d::")
SIZES = {"124m": {}, "1.5b": {"n_layer": 48, "n_head": 25, "n_embd": 1600}}
Ways = Mapping[str, Callable[[], list[Callback]]]


class GPT2(LightningModule):
    """GPT-2 on tokens that mean nothing, trained by AdamW."""

    def __init__(self, size: str, fused: bool) -> None:
        super().__init__()
        self.fused = fused
        torch.manual_seed(0)
        config = GPT2Config(**SIZES[size], use_cache=False, attn_implementation="sdpa")
        with torch.device("cuda"):
            self.net = GPT2LMHeadModel(config)

    def training_step(self, batch, batch_idx):
        loss = self.net(batch[0], labels=batch[0]).loss
        self.log("train_loss", loss)
        return loss

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=1e-5, fused=self.fused)


def tokens(batch: int) -> DataLoader:
    """Texts of 1024 random tokens."""
    ids = torch.randint(50257, (64 * batch, 1024), generator=torch.Generator().manual_seed(1))
    return DataLoader(TensorDataset(ids), batch_size=batch, pin_memory=True)


def train(
    pass_on: Callable[[], None],
    callbacks: Callable[[], list[Callback]],
    size: str = "124m",
    batch: int = 16,
    steps: int = 10,
    fused: bool = True,
    **settings,
) -> None:
    """Train GPT-2, a turn every ``steps`` steps, for as long as there are turns."""
    settings = {"accelerator": "gpu", "devices": 1, "precision": "bf16-mixed", **settings}
    model = GPT2(size, fused)
    if settings["precision"] == "bf16-true":
        model = model.bfloat16()
    fit(model, tokens(batch), pass_on, callbacks(), steps, **settings)


def trainings(ways: Ways, rounds: int, **more) -> Rows:
    """GPT-2, trained in all these ways."""
    taking = {name: partial(train, callbacks=callbacks, **more) for name, callbacks in ways.items()}
    return ratios(in_turns(taking, rounds))


class Alone(NamedTuple):
    """What one way does in 10 steps when nothing else is on the GPU.

    Attributes:
        peak: Most bytes of memory.
        seen: How often it waits for the GPU, and sends to others.
        busy: Microseconds of every kernel by name.
        launches: Kernels.
    """

    peak: int
    seen: Counter
    busy: dict[str, float]
    launches: int


def one(callbacks: Callable[[], list[Callback]], **more) -> Alone:
    """Train one way by itself, under a profiler."""
    gc.collect()
    torch.cuda.empty_cache()
    activities = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
    profiler = torch.profiler.profile(activities=activities)
    peak, turns = 0, 0

    def pass_on() -> None:
        nonlocal peak, turns
        turns += 1
        if turns == 2:
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
            profiler.start()
        if turns == 3:
            profiler.stop()
            peak = torch.cuda.max_memory_allocated()
            raise Through

    with suppress(Through):
        train(pass_on, callbacks, steps=10, **more)
    seen: Counter = Counter()
    busy: dict[str, float] = {}
    launches = 0
    for event in profiler.key_averages():
        for kind in (*WAITS, *MESSAGES):
            if kind in event.key:
                seen[kind] += event.count
        if event.device_type == torch.autograd.DeviceType.CUDA:
            busy[event.key] = event.self_device_time_total
            launches += event.count
    return Alone(peak, seen, busy, launches)


def by_themselves(ways: Ways, **more) -> dict[str, dict[str, Any]]:
    """Everything as a ratio to plain training's, or as what comes on top of it."""
    measured = {name: one(callbacks, **more) for name, callbacks in ways.items()}
    base = measured["plain"]
    rows = {}
    for name, own in measured.items():
        dearer = {kernel: took - base.busy.get(kernel, 0) for kernel, took in own.busy.items()}
        first = sorted(dearer, key=dearer.__getitem__, reverse=True)[:3]
        rows[name] = {
            "peak_bytes": own.peak,
            "peak_ratio": own.peak / base.peak,
            "busy_ratio": sum(own.busy.values()) / sum(base.busy.values()),
            "more launches": own.launches - base.launches,
            **{f"more {kind}": own.seen[kind] - base.seen[kind] for kind in (*WAITS, *MESSAGES)},
            "more microseconds a step": {kernel[:100]: dearer[kernel] / 10 for kernel in first},
        }
    return rows


def part_124m(rounds: int) -> dict:
    """Everything that can be chosen, and peers."""
    return {"training": trainings({"plain": list, AGAIN: list, **DICE, **PEERS}, rounds, steps=5)}


def part_alone(rounds: int) -> dict:
    """What each asks for when nothing else is on the GPU, and Lightning's clipping."""
    # Lightning clips no gradients of a fused optimizer under mixed precision.
    clipping = {
        "plain": partial(train, callbacks=list, fused=False),
        "Lightning's clipping by norm": partial(
            train, callbacks=list, fused=False, gradient_clip_val=1.0
        ),
    }
    return {
        "yardstick, not fused": ratios(in_turns(clipping, rounds)),
        "alone": by_themselves({"plain": list, **DICE}),
    }


def part_skip(rounds: int) -> dict:
    """Discards dealt from a deck: every turn of 20 steps has as many as there should be."""
    skip = SavingThrow("d20", threshold=10, scaling="skip")
    ways = {
        "plain": list,
        AGAIN: list,
        "margin, skip_discarded": dice(draws="deck", skip_discarded=True),
        "skip, skip_discarded": dice(skip, draws="deck", skip_discarded=True),
    }
    return {"training": trainings(ways, rounds, steps=20)}


def part_large(rounds: int) -> dict:
    """Weights and states in bfloat16, so that four trainings fit side by side."""
    ways = {"plain": list, AGAIN: list, "gradient": DICE["gradient"], "update": DICE["update"]}
    more = {"size": "1.5b", "batch": 4, "steps": 5, "precision": "bf16-true"}
    return {"training": trainings(ways, rounds, **more)}


def part_ddp(rounds: int) -> dict:
    """All GPUs of this host, a process each."""
    more = {"strategy": "ddp", "devices": int(os.environ["WORLD_SIZE"])}
    ways = {name: DICE[name] for name in ("gradient", "update", "per mini-batch")}
    rows = trainings({"plain": list, AGAIN: list, **ways}, rounds, steps=5, **more)
    alone = by_themselves({"plain": list, **ways}, **more)
    return {"processes": more["devices"], "training": rows, "alone": alone}


PARTS = {
    "124m": (part_124m, 30),
    "alone": (part_alone, 30),
    "skip": (part_skip, 20),
    "1.5b": (part_large, 40),
    "ddp": (part_ddp, 40),
}


def main() -> None:
    """Measure one part, show it, and write it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--rounds", type=int)
    given = parser.parse_args()
    measure, rounds = PARTS[given.part]
    rounds = given.rounds or rounds
    torch.set_float32_matmul_precision("high")
    results = measure(rounds)
    if int(os.environ.get("RANK", 0)) == 0:
        for name, rows in results.items():
            if isinstance(rows, dict) and name != "alone":
                show(f"GPT-2, {given.part}: {name}", rows)
        for name, row in results.get("alone", {}).items():
            print(name, row)
        command = f"python benchmarks/gpu.py {given.part} --rounds {rounds}"
        write(given.out / f"gpu-{given.part}.json", command, results)


if __name__ == "__main__":
    main()
