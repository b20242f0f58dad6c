"""How the cost of dice grows: with parameters, tensors, optimizers, and the length of a run.

    python benchmarks/growth.py                        # a processor
    python benchmarks/growth.py --device cuda          # a GPU with 80 GB
    python benchmarks/growth.py --draw                 # the plot, from the files of both

Nothing is trained here: gradients stand still and AdamW steps, so that what is added to a step is
seen by itself. Steps without dice and with them are made of the same tensors, in turns.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import torch
from peers import THROW
from ratios import PLAIN, alone, settle, write
from torch import Tensor
from torch.optim import AdamW

from lightning_dice.adapters.torch_loop import attach

RESULTS = Path(__file__).parent / "results"
KINDS: dict[str, dict[str, Any]] = {
    "gradient": {},
    "update": {"target": "update"},
    "gradient, a roll a tensor": {"scope": "tensor"},
    "update, a roll a tensor": {"target": "update", "scope": "tensor"},
}
PARAMETERS = {
    "cpu": (10**4, 10**5, 10**6, 10**7),
    "cuda": (10**6, 10**7, 124 * 10**6, 15 * 10**8),
}
TENSORS = (10, 100, 1000, 10_000)
OPTIMIZERS = (1, 2, 4, 8)
LONG = 1_000_000
"""Steps of a long run."""


class Standing:
    """Optimizers over parameters whose gradients stand still.

    Args:
        device: Where they are.
        parameters: Numbers in all tensors together.
        tensors: Tensors, of one size.
        count: Optimizers that the tensors are dealt out to.
    """

    def __init__(self, device: str, parameters: int = 10**6, tensors: int = 148, count: int = 1):
        size = max(1, parameters // tensors)
        # On a processor, what others do meanwhile is no time of this thread.
        self.clock = time.thread_time if device == "cpu" else time.perf_counter
        self.tensors = [torch.ones(size, device=device).requires_grad_() for _ in range(tensors)]
        self.gradients = [torch.empty_like(tensor) for tensor in self.tensors]
        shares = [self.tensors[index::count] for index in range(count)]
        self.optimizers = [AdamW(share, lr=1e-6, fused=True) for share in shares]

    def seconds(self, kind: str, steps: int) -> float:
        """What a step takes, on average over some."""
        for gradient in self.gradients:
            gradient.fill_(1e-3)
        dice = None if kind == PLAIN else attach(self.optimizers, THROW, seed=0, **KINDS[kind])
        took = 0.0
        for step in range(steps + 1):
            for tensor, gradient in zip(self.tensors, self.gradients, strict=True):
                tensor.grad = gradient  # as a backward pass does, after a discard too
            settle()
            begun = self.clock()
            for optimizer in self.optimizers:
                optimizer.step()
            settle()
            took += (self.clock() - begun) if step else 0
        if dice is not None:
            dice.remove()
        return took / steps

    def added(self, steps: int, rounds: int) -> dict[str, dict[str, float]]:
        """Microseconds that each kind of dice adds to a step: median and quartiles."""
        ways = {kind: partial(self.seconds, kind, steps) for kind in (PLAIN, *KINDS)}
        seconds = alone(ways, rounds)
        rows = {PLAIN: {"microseconds": 1e6 * statistics.median(seconds[PLAIN])}}
        for kind in KINDS:
            pairs = zip(seconds[kind], seconds[PLAIN], strict=True)
            more = [1e6 * (own - base) for own, base in pairs]
            low, middle, high = statistics.quantiles(more, n=4, method="inclusive")
            rows[kind] = {"more": middle, "low": low, "high": high}
        return rows


def long_run(tenths: int = 10) -> dict[str, Any]:
    """A million steps whose rolls are recorded: does a late one cost more than an early one?"""
    weight: Tensor = torch.nn.Parameter(torch.ones(10))
    weight.grad = torch.full_like(weight, 1e-3)
    optimizer = AdamW([weight], lr=1e-6)
    model = torch.nn.ParameterDict({"weight": weight})
    parts, memory = [], []
    with tempfile.TemporaryDirectory() as folder:
        dice = attach(optimizer, THROW, target="update", seed=0, model=model, folder=folder)
        for _ in range(tenths):
            begun = time.perf_counter()
            for _ in range(LONG // tenths):
                optimizer.step()
            parts.append(1e6 * (time.perf_counter() - begun) / (LONG // tenths))
            memory.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
        dice.remove()
        size = (Path(folder) / "rolls.csv").stat().st_size
    return {
        "steps": LONG,
        "microseconds a step, by tenths": parts,
        "peak kilobytes, by tenths": memory,
        "bytes of rolls.csv a step": size / LONG,
    }


def measure(device: str, rounds: int) -> dict[str, Any]:
    """What is added to a step, over everything that grows."""
    grows = {
        "parameters": {n: {"parameters": n} for n in PARAMETERS[device]},
        "tensors": {n: {"tensors": n} for n in TENSORS},
        "optimizers": {n: {"count": n} for n in OPTIMIZERS},
    }
    results: dict[str, Any] = {}
    for what, sizes in grows.items():
        results[what] = {}
        for size, settings in sizes.items():
            steps = 3 if size == max(TENSORS) else 20
            rows = Standing(device, **settings).added(steps, rounds)
            more = ", ".join(f"{kind} {row['more']:+.0f}" for kind, row in list(rows.items())[1:])
            print(f"{size} {what}: a step {rows[PLAIN]['microseconds']:.0f} µs; {more}", flush=True)
            results[what][str(size)] = rows
    return results


def draw(path: Path) -> None:
    """What is added to a step, over what grows: a row of panels for each device."""
    from lightning_dice.analysis.style import BLUE, GREEN, ORANGE, VERMILLION, house_figure
    from lightning_dice.analysis.style import draw as to_png

    found = {
        name: json.loads(file.read_text())
        for name, file in {
            "a processor": RESULTS / "growth-cpu.json",
            "a GPU": RESULTS / "growth-cuda.json",
        }.items()
    }

    def plot():
        figure = house_figure(5.2)
        panels = figure.subplots(2, 3, sharey="row")
        for row, (device, results) in zip(panels, found.items(), strict=True):
            for axes, what in zip(row, ("parameters", "tensors", "optimizers"), strict=True):
                at = [int(size) for size in results[what]]
                rows = list(results[what].values())
                itself = [own[PLAIN]["microseconds"] for own in rows]
                axes.plot(at, itself, "k--", label="the optimizer's step itself")
                for kind, colour in zip(KINDS, (BLUE, GREEN, ORANGE, VERMILLION), strict=True):
                    more = [max(own[kind]["more"], 1) for own in rows]
                    axes.plot(at, more, "o-", color=colour, markersize=3, label=f"added by {kind}")
                axes.set(xscale="log", yscale="log", xlabel=what)
                if what == "optimizers":
                    axes.set_xticks(at, labels=at)
                    axes.minorticks_off()
            row[0].set_ylabel(f"µs a step, {device}")
        names = panels[0, 0].get_legend_handles_labels()
        figure.legend(*names, loc="outside upper center", ncols=2)
        return figure

    path.write_bytes(to_png(plot))


def main() -> None:
    """Measure on one device, or draw what was measured."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--device", choices=PARAMETERS, default="cpu")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--draw", action="store_true", help="only draw growth.png")
    given = parser.parse_args()
    if given.draw:
        draw(given.out / "growth.png")
        return
    torch.set_num_threads(1)
    results = measure(given.device, given.rounds)
    if given.device == "cpu":
        results["a long run"] = long_run()
    command = f"python benchmarks/growth.py --device {given.device} --rounds {given.rounds}"
    write(given.out / f"growth-{given.device}.json", command, results)


if __name__ == "__main__":
    main()
