"""How far the runs of a sweep are: what their summaries say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

from lightning_dice.app.lock import LOCK
from lightning_dice.app.summary import NAME, summary_of

__all__ = ["ENDED", "Watch", "begun", "summary_of", "written"]

ENDED = ("finished", "failed", "refused")
"""A run that says one of these will not go on by itself."""


class Watch:
    """Counts how runs have ended since it was made.

    Args:
        folders: Gives those of the runs; asked every time, as there may be more by then.
    """

    def __init__(self, folders: Callable[[], Iterable[Path]]) -> None:
        self._folders = folders
        self._seen = {folder: written(folder) for folder in folders()}
        self._done: set[Path] = set()
        self._ended: Counter[str] = Counter()

    def __call__(self) -> Counter[str]:
        """How many runs have ended by now, by status."""
        for folder in self._folders():
            now = written(folder)
            if folder in self._done or now == self._seen.get(folder, 0):
                continue
            self._seen[folder] = now
            status = str(summary_of(folder).get("status"))
            if status in ENDED:
                self._ended[status] += 1
                self._done.add(folder)
        return self._ended


def written(folder: Path) -> int:
    """When a run's summary was written; 0 for none."""
    return _time_of(folder / NAME)


def begun(folder: Path) -> int:
    """When the job began that is in the folder, or was when its process was lost; 0 for none."""
    return _time_of(folder / LOCK)


def _time_of(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0
