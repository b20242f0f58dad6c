"""Which runs are still to be made, and in which packs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from arms import named
from packed import Run, steps_of
from regimes import REGIMES, Regime

Identity = tuple[str, str, str, float, int, int]
"""What tells one run from another."""


class Planned(NamedTuple):
    """Runs that may be trained side by side.

    Attributes:
        regime: Theirs.
        base: Their base optimizer.
        steps: Theirs.
        runs: At most as many as a pack has.
    """

    regime: Regime
    base: str
    steps: int
    runs: list[Run]


def identity(line: Mapping[str, Any]) -> Identity:
    """What tells the run of a line, of a plan or of results, from others."""
    dice_seed = line.get("dice_seed", line["seed"])
    return line["regime"], line["base"], line["arm"], line["lr"], line["seed"], dice_seed


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of a JSON lines file; a last one that was cut off is passed over."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    for line in text.splitlines(keepends=True):
        if line.endswith("\n") and line.strip():
            yield json.loads(line)


def packs_of(
    lines: Iterable[Mapping[str, Any]],
    done: Iterable[Identity],
    size: int,
    regimes: Mapping[str, Regime] = REGIMES,
) -> list[Planned]:
    """The packs of what is left of a plan, in its order.

    Dropout and Magma cost every run of a pack, so that those runs come last and together.

    Args:
        lines: Of the plan: regime, base, arm, lr, seed and, if it is not the seed, dice_seed.
        done: Runs that are left out.
        size: Most runs of a pack.
        regimes: By name.
    """
    groups: dict[tuple[str, str, int], list[Run]] = {}
    seen = set(done)
    for line in lines:
        own = identity(line)
        if own in seen:
            continue
        seen.add(own)
        name, base, arm, lr, seed, dice_seed = own
        run = Run(named(arm), lr, seed, dice_seed)
        groups.setdefault((name, base, steps_of(regimes[name], run)), []).append(run)
    for runs in groups.values():
        runs.sort(key=lambda run: (run.arm.dropout > 0, run.arm.magma))
    packs = []
    for (name, base, steps), own in groups.items():
        most = min(size, regimes[name].pack or size)
        for start in range(0, len(own), most):
            packs.append(Planned(regimes[name], base, steps, own[start : start + most]))
    return packs
