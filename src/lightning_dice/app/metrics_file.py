"""``metrics.csv``: Lightning's own CSV logger, made to survive a resumed run."""

from __future__ import annotations

import csv
import warnings
from pathlib import Path

from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.utilities import rank_zero_only


def metrics_file(folder: Path, next_step: int) -> CSVLogger:
    """A logger that writes ``folder/metrics.csv``.

    Lightning's logger deletes the file that it finds. Here a resumed run keeps the rows from
    before its checkpoint; those after it are measured again.

    Args:
        folder: The output folder.
        next_step: The step that training goes on with; 0 for a new run.
    """
    logger = CSVLogger(folder, name="", version="")
    if rank_zero_only.rank != 0:  # type: ignore[attr-defined]
        return logger
    path = folder / "metrics.csv"
    kept, aside = [], path.with_suffix(".before.csv")
    if path.exists() and not aside.exists():
        path.rename(aside)  # a crash from here to the end leaves the rows in one of the two
    if aside.exists():
        with aside.open(newline="", encoding="utf-8") as file:
            kept = [row for row in csv.DictReader(file) if _step(row) < next_step]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Experiment logs directory .* exists and is not empty")
        experiment = logger.experiment
    experiment.metrics.extend({key: cell for key, cell in row.items() if cell} for row in kept)
    logger.save()
    aside.unlink(missing_ok=True)
    return logger


def _step(row: dict[str, str]) -> float:
    try:
        return float(row["step"])
    except (KeyError, TypeError, ValueError):
        return float("inf")  # cut short by a crash, so measured again
