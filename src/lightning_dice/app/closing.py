"""The last lines of a run: what came of it, or how to resume it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from lightning.pytorch.utilities import rank_zero_only

from lightning_dice.analysis.report import REPORT
from lightning_dice.app.checkpoints import CHECKPOINTS, LAST
from lightning_dice.app.commands import near, resume_run
from lightning_dice.app.lock import Held
from lightning_dice.app.recorded import resume_recorded
from lightning_dice.app.starting import Start
from lightning_dice.app.sweeps.status import summary_of, written
from lightning_dice.app.train import Summary
from lightning_dice.app.twin import twin_of
from lightning_dice.rules import SettingError
from lightning_dice.rules.controls import WITHOUT_DICE


def closing(summary: Summary, twin: Summary | None, folder: Path) -> list[str]:
    """Return what came of a run that has finished, in a few lines.

    Args:
        summary: Of the run.
        twin: Of its plain twin, if it has one.
        folder: Of the run.
    """
    task = summary["task"]
    name = task["metric"].replace("val_", "validation ")
    took = f"after {summary['steps']} steps in {summary['wall_time']:.0f} s"
    if twin is None:
        ended = f"{name} {_value(summary)}{_beside(summary)} {took}"
    else:
        control = summary["control"]["name"]
        label = "dice" if control == "none" else str(control)
        ended = f"{name}: {label} {_value(summary)}, plain {_value(twin)}{_beside(summary)} {took}"
    return [ended, *_rolls(summary), _place(folder)]


def _rolls(summary: Summary) -> list[str]:
    if summary["control"]["name"] in WITHOUT_DICE:
        return []
    rolls, target = summary["rolls"], summary["dice"]["target"]
    observed, expected = rolls["mean_scale"] or 0, summary["odds"]["mean"]
    return [
        f"{rolls['count']} rolls, observed scale of {target}s {observed:.3f} "
        f"(expected {expected:.3f})"
    ]


def _value(summary: Summary) -> str:
    value = summary["metrics"].get(summary["task"]["metric"])
    if value is None:
        return "not measured"
    return f"{value:.3f} {summary['task']['unit']}".rstrip()


def _beside(summary: Summary) -> str:
    baseline = summary["baseline"]
    return f" ({baseline['name']} {baseline['value']:.3f})" if baseline else ""


def _place(folder: Path) -> str:
    report = folder / REPORT
    return f"report: {near(report)}" if report.is_file() else f"folder: {near(folder)}"


@contextmanager
def advising(folder: Path) -> Iterator[None]:
    """Note on whatever ends training early how to resume it, or take back a start for nothing.

    Args:
        folder: The output folder of the run.
    """
    before = _signs(folder)
    try:
        yield
        if _signs(folder) == before:
            Start.take_back()
    except BaseException as error:
        if rank_zero_only.rank == 0:  # type: ignore[attr-defined]
            if isinstance(error, Held):
                Start.take_back()  # the process that trains there may have written meanwhile
                lines = []
            elif _signs(folder) == before:
                Start.take_back()
                lines = _held(folder)
            else:
                lines = _resuming(folder, refused=isinstance(error, SettingError))
            for line in lines:
                error.add_note(line)
        raise


def _signs(folder: Path) -> Sequence[int]:
    return [written(folder), written(twin_of(folder))]


def _held(folder: Path) -> list[str]:
    """Return how to resume the run that was in the folder before, if that has not finished."""
    status = summary_of(folder).get("status")
    command = resume_recorded(folder) if status not in (None, "finished") else None
    return [] if command is None else [f"resume the run in {near(folder)}: {command}"]


def _resuming(folder: Path, refused: bool) -> list[str]:
    """Return how far a run came, and the command that resumes it.

    A run whose setting is refused before its first step would be refused again.
    """
    runs = [folder, twin_of(folder)]
    at, summary = max(((one, summary_of(one)) for one in runs), key=lambda pair: written(pair[0]))
    planned = summary.get("planned_steps")
    whose = "" if at == folder else " of plain training"
    of = "" if planned is None else f" of {planned}"
    lines = [
        f"{summary.get('status')} at step {summary.get('steps')}{of}{whose}",
        _place(folder),
    ]
    if (at / CHECKPOINTS / LAST).is_file():
        return [*lines, f"resume from the last checkpoint: {resume_run(folder)}"]
    if refused and not summary.get("steps"):
        return lines
    again = resume_run(folder, again=at == folder)
    return [*lines, f"there is no checkpoint yet, so this begins anew: {again}"]
