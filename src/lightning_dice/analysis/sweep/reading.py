"""One run of a sweep: what its summary and its metrics say, or why it does not count."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

import numpy as np

from lightning_dice.analysis.readers import Series, read_metrics
from lightning_dice.analysis.run import count, finite, section
from lightning_dice.analysis.sweep.arms import (
    Arm,
    UnreadableError,
    read_arm,
    read_odds,
    read_shares,
)
from lightning_dice.analysis.sweep.find import SUMMARY, Found, LeftOut
from lightning_dice.analysis.sweep.measure import Measure
from lightning_dice.analysis.words import last_line

FINISHED = "finished"
_ENDED = {
    "running": "had not ended",
    "failed": "failed",
    "interrupted": "interrupted",
    "refused": "refused: settings that cannot be used",
}


class Reading(NamedTuple):
    """A run that counts, unless another one has the same arm and seed.

    Attributes:
        found: Where it is, and its summary.
        arm: What it belongs to.
        measure: What it is judged by.
        seed: Its seed.
        started: When, as text that sorts.
    """

    found: Found
    arm: Arm
    measure: Measure
    seed: int
    started: str


def read_run(found: Found) -> Reading | LeftOut:
    """What a run counts as, or why it does not count."""
    summary, task = found.summary, section(found.summary, "task")
    if "status" not in summary or not task:
        return LeftOut(found.path, f"{SUMMARY} is not one of lightning-dice")
    status = str(summary["status"])
    if status != FINISHED:
        return LeftOut(
            found.path,
            _ENDED.get(status, "of unknown status"),
            last_line(str(summary.get("error") or "")),
        )
    metric = task.get("metric")
    if not isinstance(metric, str) or not metric:
        return LeftOut(found.path, "names no metric that it is judged by")
    if task.get("mode") not in ("min", "max"):
        return LeftOut(found.path, "does not say which way its metric is better")
    seed = count(summary.get("seed"))
    if seed is None:
        return LeftOut(found.path, "has no seed, so it cannot be paired")
    try:
        arm = read_arm(summary)
    except UnreadableError as error:
        return LeftOut(found.path, "does not say which arm it is of", str(error))
    measure = Measure(metric, str(task.get("unit") or ""), str(task["mode"]))
    return Reading(found, arm, measure, seed, _moment(summary.get("started")))


def _moment(started: object) -> str:
    """A time such that earlier ones sort first and one that cannot be read sorts last."""
    try:
        return f"{datetime.fromisoformat(str(started)).timestamp():020.6f}"
    except (ValueError, OverflowError, OSError):
        return "~"


def read_curve(reading: Reading) -> tuple[Series, list[LeftOut]]:
    """The metric over the steps, ascending and each once, and what could not be read of it."""
    path = f"{reading.found.path}/metrics.csv"
    metrics, omissions = read_metrics(reading.found.folder / "metrics.csv")
    unread = [_unread(path, omission) for omission in omissions]
    series = metrics.get(reading.measure.metric)
    if series is None:
        if not unread:
            unread = [LeftOut(path, "metrics.csv lacks the metric", reading.measure.metric)]
        return Series(np.array([], np.int64), np.array([], np.float64)), unread
    # What was logged again for a step, after a resume, is what holds.
    last = np.flatnonzero(np.diff(series.step, append=series.step[-1] + 1))
    return Series(series.step[last], series.value[last]), unread


def _unread(path: str, omission: str) -> LeftOut:
    if omission in ("metrics.csv is missing", "metrics.csv is empty"):
        return LeftOut(path, omission)
    return LeftOut(path, "metrics.csv can be read in part", omission.removeprefix("metrics.csv "))


def describe(reading: Reading, series: Series) -> dict[str, Any]:
    """The run's own cells of its row: its seed, its numbers, where it is."""
    summary, measure = reading.found.summary, reading.measure
    drawn = series.finite.value
    best = (drawn.max() if measure.mode == "max" else drawn.min()) if len(drawn) else None
    mean, efficiency = read_odds(summary)
    inverse, discard = read_shares(summary)
    numbers = {
        "final": finite(section(summary, "metrics").get(measure.metric)),
        "best": best,
        "steps": count(summary.get("steps")),
        "wall_time": finite(summary.get("wall_time")),
        "baseline": finite(section(summary, "baseline").get("value")),
        "mean_scale": mean,
        "efficiency": efficiency,
        "inverse": inverse,
        "discard": discard,
        "lr": finite(section(summary, "settings").get("optimizer.lr")),
    }
    floats = {name: np.nan if value is None else float(value) for name, value in numbers.items()}
    return {
        "seed": reading.seed,
        **floats,
        "status": str(summary["status"]),
        "path": reading.found.path,
    }
