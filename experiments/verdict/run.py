"""Trains the runs of a plan in packs, and goes on where it was stopped.

    python experiments/verdict/run.py PLAN.jsonl --out rows.jsonl --device cuda

A line of the plan is ``{"regime": "manual", "base": "adamw", "arm": "plain", "lr": 0.003,
"seed": 0, "dice_seed": 0}``.
"""

from __future__ import annotations

import datetime
import json
import platform
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from arms import named
from corpora import Data
from packed import TENTHS, How, Pack, Run, train
from plan import Planned, identity, packs_of, read_lines
from regimes import REGIMES, Regime

from lightning_dice import __version__

SIZES = (1, 8, 32, 64, 128)
"""Of the packs that are timed."""
MEASURED = 50
"""Steps that are timed, after a few that are not."""
MIXTURE = ("plain", "t10-skip-tensor-update-hidden", "t10-margin-model-gradient-all")
"""Arms of a pack that is timed."""
SLACK = 1.15
"""How much longer than expected a pack may take."""


class Clock:
    """Says whether a pack can be through before the time is up.

    Args:
        limit: Seconds from now on.
    """

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._start = time.monotonic()
        self._largest: dict[str, tuple[int, float]] = {}

    @property
    def elapsed(self) -> float:
        """Seconds so far."""
        return time.monotonic() - self._start

    def fits(self, pack: Planned) -> bool:
        """Whether there is time for it, as far as those before tell."""
        known = self._largest.get(pack.regime.name)
        if known is None:
            known = max(self._largest.values(), default=(1, 0.0))
        runs, a_step = known
        expected = SLACK * a_step * pack.steps * max(1.0, len(pack.runs) / runs)
        return self.elapsed + expected < self._limit

    def through(self, pack: Planned, seconds: float) -> None:
        """Learn from a pack that is through; a small one takes as long as one several times it."""
        known = self._largest.get(pack.regime.name, (0, 0.0))
        self._largest[pack.regime.name] = max(known, (len(pack.runs), seconds / pack.steps))


@click.command()
@click.argument("plan", required=False, type=click.Path(exists=True, path_type=Path))
@click.option("--out", default="rows.jsonl", type=click.Path(path_type=Path), show_default=True)
@click.option("--device", default="cuda" if torch.cuda.is_available() else "cpu", show_default=True)
@click.option("--pack", "size", default=64, show_default=True, help="Most runs side by side.")
@click.option("--limit-s", "limit", default=540.0, show_default=True, help="Seconds it may take.")
@click.option("--bf16", is_flag=True, help="Products of bfloat16 numbers.")
@click.option("--measure", type=click.Choice([*REGIMES]), help="Time packs of a regime instead.")
@click.option("--base", default="adamw", show_default=True, help="Base optimizer that is timed.")
@click.option("--sizes", default=",".join(map(str, SIZES)), show_default=True, help="Packs timed.")
def main(
    plan: Path | None,
    out: Path,
    device: str,
    size: int,
    limit: float,
    bf16: bool,
    measure: str | None,
    base: str,
    sizes: str,
) -> None:
    """Train what is left of PLAN."""
    how = How(bf16=bf16)
    if measure is not None:
        regime = REGIMES[measure]
        for each in map(int, sizes.split(",")):
            _measure(regime, base, each, torch.device(device), how)
        return
    if plan is None:
        raise click.UsageError("a PLAN is needed, or --measure")
    packs = packs_of(read_lines(plan), [identity(row) for row in read_lines(out)], size)
    carry_out(packs, out, Clock(limit), device, how)


def carry_out(packs: list[Planned], out: Path, clock: Clock, device: str, how: How) -> bool:
    """Train packs one after the other, and append their rows.

    Args:
        packs: What to train.
        out: The file of rows; that of the machine lies beside it.
        clock: Says when to stop.
        device: Where.
        how: How it is computed.

    Returns:
        Whether there was time for all.
    """
    click.echo(f"{sum(len(pack.runs) for pack in packs)} runs left, in {len(packs)} packs")
    if packs:
        _note(out.with_name("machine.json"), device, how, {pack.regime.name for pack in packs})
    _mend(out)
    for number, pack in enumerate(packs, start=1):
        if not clock.fits(pack):
            click.echo(f"stopped before pack {number} of {len(packs)}, as the time is nearly up")
            return False
        began = time.monotonic()
        rows = train(
            pack.regime, pack.base, pack.runs, device, data=_data(pack.regime.name, device), how=how
        )
        seconds = time.monotonic() - began
        clock.through(pack, seconds)
        with out.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)
        _note(out.with_name("machine.json"), device, how, {pack.regime.name})
        click.echo(
            f"{number}/{len(packs)} {pack.regime.name} {pack.base}: {len(rows)} runs of "
            f"{pack.steps} steps in {seconds:.1f} s, {clock.elapsed:.0f} s in all"
        )
    return True


@cache
def _data(name: str, device: str) -> Data:
    return REGIMES[name].load().to(torch.device(device))


def _mend(out: Path) -> None:
    """Take away a last line that was cut off."""
    text = out.read_bytes() if out.exists() else b""
    if text and not text.endswith(b"\n"):
        out.write_bytes(text[: text.rfind(b"\n") + 1])


def _note(path: Path, device: str, how: How, regimes: set[str]) -> None:
    """Add to the file that tells where, when and with what the rows were made."""
    sessions: list[Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    session = {
        "from": now,
        "to": now,
        "command": [Path(word).name for word in sys.argv],
        "python": platform.python_version(),
        "versions": {
            "lightning-dice": __version__,
            "torch": torch.__version__,
            "numpy": np.__version__,
        },
        "device": _device_name(device),
        "how": asdict(how),
        "regimes": {
            name: {
                "steps": REGIMES[name].steps,
                "batch": REGIMES[name].batch,
                **_data(name, device).record,
            }
            for name in sorted(regimes)
        },
    }
    path.write_text(json.dumps(_joined([*sessions, session]), indent=1) + "\n", encoding="utf-8")


def _joined(sessions: list[Any]) -> list[Any]:
    """Sessions, those that follow one another with the same command and machine being one."""
    joined: list[Any] = []
    for session in sessions:
        if joined and _agree(joined[-1], session):
            joined[-1]["to"] = session["to"]
            joined[-1]["regimes"] |= session["regimes"]
        else:
            joined.append(session)
    return joined


def _agree(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    common = one["regimes"].keys() & other["regimes"].keys()
    return all(
        one[key] == other[key] for key in ("command", "python", "versions", "device", "how")
    ) and all(one["regimes"][name] == other["regimes"][name] for name in common)


def _device_name(device: str) -> str:
    if torch.device(device).type == "cuda":
        return torch.cuda.get_device_name(device)
    return platform.processor() or platform.machine()


def _measure(regime: Regime, base: str, size: int, device: torch.device, how: How) -> None:
    """Time a pack, and say how many runs a minute that makes."""
    name = regime.name
    runs = [Run(named(MIXTURE[i % len(MIXTURE)]), 1e-3, seed=i, dice_seed=i) for i in range(size)]
    if device.type == "cuda":
        torch.set_float32_matmul_precision("high")
        torch.cuda.reset_peak_memory_stats(device)
    began = time.monotonic()
    pack = Pack(regime, base, runs, device, _data(name, str(device)), how)
    for step in range(5):
        pack.step(step)
    pack.scores(pack.weights, pack.data.val)
    _wait(device)
    start = time.monotonic()
    for step in range(5, 5 + MEASURED):
        pack.step(step)
    _wait(device)
    a_step = (time.monotonic() - start) / MEASURED
    middle = time.monotonic()
    pack.scores(pack.weights, pack.data.val)
    _wait(device)
    an_evaluation = time.monotonic() - middle
    whole = (start - began) + regime.steps * a_step + TENTHS * an_evaluation
    peak = torch.cuda.max_memory_allocated(device) / 2**30 if device.type == "cuda" else 0.0
    click.echo(
        f"{name} {base}, {size} runs: {1e3 * a_step:.2f} ms a step, {1e3 * an_evaluation:.1f} ms "
        f"an evaluation, {start - began:.1f} s to begin, {peak:.1f} GiB; "
        f"{60 * size / whole:.1f} runs a minute"
    )


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


if __name__ == "__main__":
    main()
