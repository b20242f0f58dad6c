"""What came of a sweep, in a few lines."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from lightning_dice.app.commands import near, read_with
from lightning_dice.app.errors import SweepEnded
from lightning_dice.app.sweeps.plan import Planned
from lightning_dice.app.sweeps.status import summary_of

Ends = Mapping[str, Mapping[str, Any]]
"""The summary of each run, by its name."""


def ends_of(jobs: Iterable[Planned], folder: Path) -> Ends:
    """How the runs of a sweep stand that is in ``folder``."""
    return {job.name: summary_of(folder / job.name) for job in jobs}


def conclude(ends: Ends, tried: int, folder: Path, command: str) -> None:
    """Say what came of a sweep.

    Args:
        ends: How its runs stand.
        tried: How many of them had not finished before.
        folder: Where it is.
        command: What ``lightning-dice`` is told to say what they found.

    Raises:
        SweepEnded: If runs failed.
    """
    say(standing(ends, tried, folder), *_reasons(ends, "refused"))
    if any(summary.get("status") == "finished" for summary in ends.values()):
        say(f"what they found: {read_with(command, folder)}")
    failed = list(_reasons(ends, "failed"))
    if failed:
        raise SweepEnded("\n".join(failed))


def standing(ends: Ends, tried: int, folder: Path) -> str:
    """How many runs have finished."""
    finished = sum(summary.get("status") == "finished" for summary in ends.values())
    before = f", {len(ends) - tried} of them before" if tried < len(ends) else ""
    return f"{finished} of {len(ends)} runs have finished in {near(folder)}{before}"


def say(*lines: str) -> None:
    """Write lines to standard output."""
    console = Console()
    for line in lines:
        console.print(line, soft_wrap=True, markup=False, highlight=False)


def _reasons(ends: Ends, status: str) -> Iterator[str]:
    """A line for each reason for which runs have that status."""
    reasons: dict[str, list[str]] = {}
    for name, summary in ends.items():
        if summary.get("status") == status:
            reason = next(iter(str(summary.get("error") or "").splitlines()), "")
            reasons.setdefault(reason, []).append(name)
    for reason, names in reasons.items():
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        yield f"{status}: {reason} ({names[0]}{more})"
