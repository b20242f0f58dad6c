"""Ratios of the time of some ways to train to that of training without dice.

Machines are shared and drift, so a time by itself says little, and two that were measured one after
the other do not say much more. So all ways train at the same time and take turns, some steps each,
in another order in every round; a round gives each way its ratio to the plain training of that
round. What is reported is the median of these ratios with its quartiles.
"""

from __future__ import annotations

import json
import os
import platform
import random
import statistics
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

PLAIN = "plain"
AGAIN = "plain, again"
"""A second plain training: its ratio says how much of the others' is chance."""
LONGEST = 120
"""Seconds that anybody waits for a turn."""
PACKAGES = ("lightning-dice", "torch", "lightning", "transformers", "numpy")

Seconds = dict[str, list[float]]


class Through(Exception):  # noqa: N818 - no error: all turns have been had
    """Ends a training that has had its turns."""


class Turns:
    """Lets several threads run one at a time, in another order in every round, and times them.

    Args:
        names: Who takes turns.
        rounds: How many turns each has.
        warm: How many more come first, and are not timed.
    """

    def __init__(self, names: Sequence[str], rounds: int, warm: int = 3) -> None:
        self.seconds: Seconds = {name: [] for name in names}
        self._had = dict.fromkeys(names, -warm)
        self._rounds = rounds
        self._ready: set[str] = set()
        self._order = random.Random(0)
        self._round = list(names)  # whose turn it is, and who comes after
        self._begun = 0.0
        self._change = threading.Condition()
        self._failed: BaseException | None = None

    def pass_on(self, name: str) -> None:
        """End the turn of ``name``, and wait for its next one.

        Raises:
            Through: If there is none.
        """
        settle()
        with self._change:
            if name in self._ready:
                now = time.perf_counter()
                self._had[name] += 1
                if self._had[name] > 0:
                    self.seconds[name].append(now - self._begun)
                self._next()
            self._ready.add(name)
            self._change.notify_all()
            if self._had[name] == self._rounds:
                raise Through
            self._change.wait_for(lambda: self._failed or self._may(name), timeout=LONGEST)
            if not self._may(name):
                raise RuntimeError("another training failed, or took too long") from self._failed
        self._begun = time.perf_counter()

    def wait_for(self, name: str) -> None:
        """Wait until ``name`` is ready for its first turn."""
        with self._change:
            self._change.wait_for(lambda: self._failed or name in self._ready, timeout=LONGEST)

    def fail(self, error: BaseException) -> None:
        """Let nobody wait for a training that has failed."""
        with self._change:
            self._failed = self._failed or error
            self._change.notify_all()

    def _may(self, name: str) -> bool:
        return len(self._ready) == len(self.seconds) and self._round[0] == name

    def _next(self) -> None:
        self._round.pop(0)
        if not self._round:
            self._round = list(self.seconds)
            self._order.shuffle(self._round)


def in_turns(ways: Mapping[str, Callable[[Callable[[], None]], Any]], rounds: int) -> Seconds:
    """The seconds of every way to train, in every round.

    Args:
        ways: Each trains, and calls what it is given after so many steps as are a turn; ``PLAIN``
            is among them.
        rounds: How many turns each has.
    """
    turns = Turns(list(ways), rounds)

    def take_part(name: str) -> None:
        try:
            ways[name](lambda: turns.pass_on(name))
        except Through:
            pass
        except BaseException as error:
            turns.fail(error)
            raise

    with ThreadPoolExecutor(len(ways)) as pool:
        taking = []
        for name in ways:  # one after the other, as several processes have to do the same
            taking.append(pool.submit(take_part, name))
            turns.wait_for(name)
        for done in taking:
            done.result()
    return turns.seconds


def alone(ways: Mapping[str, Callable[[], float]], rounds: int) -> Seconds:
    """The seconds of ways that cannot take part in turns, one whole run after the other."""
    seconds: Seconds = {name: [] for name in ways}
    order = random.Random(0)
    for turn in range(rounds + 1):
        names = list(ways)
        order.shuffle(names)
        for name in names:
            took = ways[name]()
            if turn:
                seconds[name].append(took)
    return seconds


def ratios(seconds: Mapping[str, list[float]], plain: str = PLAIN) -> dict[str, dict[str, float]]:
    """Median and quartiles of each way's ratio to the plain training of the same round.

    The ratio of all seconds together is there too: what comes once in many turns, such as logging,
    is in no median of short ones.

    Example:
        >>> ratios({"plain": [1.0, 2.0, 4.0], "dice": [1.1, 2.2, 4.0]})["dice"]["ratio"]
        1.1
    """
    rows = {}
    for name, own in seconds.items():
        paired = [mine / base for mine, base in zip(own, seconds[plain], strict=True)]
        low, middle, high = statistics.quantiles(paired, n=4, method="inclusive")
        rows[name] = {
            "ratio": middle,
            "together": sum(own) / sum(seconds[plain]),
            "low": low,
            "high": high,
            "seconds": statistics.median(own),
            "rounds": len(own),
        }
    return rows


def settle() -> None:
    """Wait for what was sent to an accelerator."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def machine() -> dict[str, Any]:
    """What a figure was measured on, and with what."""
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {
        "date": time.strftime("%Y-%m-%d"),
        "python": platform.python_version(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpus": gpus,
        "versions": {name: found for name in PACKAGES if (found := _version(name))},
    }


def write(path: Path, command: str, results: Mapping[str, Any]) -> None:
    """One JSON file: what was run, on what, and what it came to."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"command": command, "machine": machine(), **results}
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    Console().print(f"written: {path}")


def show(title: str, rows: Mapping[str, Mapping[str, float]]) -> None:
    """A table in the terminal.

    Args:
        title: What was trained.
        rows: What ``ratios`` gives.
    """
    table = Table(title=title, title_justify="left")
    for column in ("", "ratio to plain", "quartiles", "together", "ms a turn"):
        table.add_column(column, justify="right" if column else "left")
    for name, row in rows.items():
        spread = f"{row['low']:.4f} to {row['high']:.4f}"
        seconds = f"{1000 * row['seconds']:.3f}"
        table.add_row(name, f"{row['ratio']:.4f}", spread, f"{row['together']:.4f}", seconds)
    Console().print(table)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
