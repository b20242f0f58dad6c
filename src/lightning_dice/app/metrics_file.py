"""``metrics.csv``: Lightning's own CSV logger, made to survive a kill at any moment."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter
from lightning.pytorch.utilities import rank_zero_only
from typing_extensions import override

from lightning_dice.records import unwritable
from lightning_dice.rules import SettingError

_BEFORE = ".before.csv"
"""Where an earlier version of this package put the rows of a run that it resumed."""
Row = Mapping[str, Any]


def metrics_file(folder: Path, next_step: int) -> CSVLogger:
    """A logger that writes ``folder/metrics.csv``.

    Lightning's logger deletes the file that it finds. Here a resumed run keeps the rows from
    before its checkpoint; those after it are measured again.

    Args:
        folder: The output folder.
        next_step: The step that training goes on with; 0 for a new run.

    Raises:
        SettingError: If the file cannot be written.
    """
    logger = MetricsLogger(folder)
    if rank_zero_only.rank == 0:  # type: ignore[attr-defined]
        logger.experiment.go_on_from(next_step)
    return logger


class MetricsLogger(CSVLogger):
    """Lightning's CSV logger for one folder, which never leaves the file without its rows.

    Args:
        folder: The output folder.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, name="", version="")
        self._rows = _Rows(folder)

    @property
    @override
    def experiment(self) -> Any:
        if self._experiment is None and rank_zero_only.rank == 0:  # type: ignore[attr-defined]
            self._experiment = self._rows
        return self._rows

    @override
    def finalize(self, status: str) -> None:
        with suppress(*([SettingError] if status == "failed" else [])):
            super().finalize(status)  # a training that fails has a reason of its own


class _Rows(ExperimentWriter):
    """Adds rows to the file; where a column joins them, the file is replaced in one piece."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "metrics.csv"
        super().__init__(log_dir=str(folder))

    @override
    def _check_log_dir_exists(self) -> None:
        """Lightning's deletes the rows of an earlier run."""

    def go_on_from(self, next_step: int) -> None:
        """Keep the rows of the steps before ``next_step``."""
        before = self._path.with_suffix(_BEFORE)
        path = before if before.exists() else self._path
        try:
            kept = [row for row in _read(path) if _step(row) < next_step]
            self.metrics_keys = sorted({key for row in kept for key, cell in row.items() if cell})
            if kept:
                self._replace(kept)
            else:
                self._path.unlink(missing_ok=True)
            before.unlink(missing_ok=True)
        except OSError as error:
            raise unwritable(self._path, error) from error

    @override
    def save(self) -> None:
        if not self.metrics:
            return
        new_keys = self._record_new_keys()
        try:
            if new_keys:
                self._replace([*_read(self._path), *self.metrics])
            else:
                self._append(self.metrics)
        except OSError as error:
            raise unwritable(self._path, error) from error
        self.metrics = []

    def _replace(self, rows: Iterable[Row]) -> None:
        draft = self._path.with_name(self._path.name + ".part")
        try:
            with draft.open("w", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, self.metrics_keys, extrasaction="ignore")
                writer.writeheader()
                writer.writerows(rows)
            draft.replace(self._path)
        finally:
            draft.unlink(missing_ok=True)

    def _append(self, rows: Sequence[Row]) -> None:
        size = self._path.stat().st_size
        try:
            with self._path.open("a", newline="", encoding="utf-8") as file:
                csv.DictWriter(file, self.metrics_keys).writerows(rows)
        except OSError:
            os.truncate(self._path, size)  # a full disk takes half a row
            raise


def _read(path: Path) -> list[dict[str, str]]:
    """Read the rows of the file, without a last one that was cut short; empty if it is missing."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8", errors="replace") as file:
        return list(csv.DictReader(line for line in file if line.endswith("\n")))


def _step(row: Mapping[str, str]) -> float:
    try:
        return float(row["step"])
    except (KeyError, TypeError, ValueError):
        return float("inf")  # damaged, so measured again
