"""Finds the runs below folders, however deep, and says of the rest why it is no run."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from lightning_dice.analysis.run import read_summary
from lightning_dice.foreign import shown
from lightning_dice.rules import SettingError

MOST = 2_000_000
"""Files and folders that are looked at."""
SUMMARY = "summary.json"
_TRACES = ("rolls.csv", "metrics.csv", ".hydra")
"""What a run leaves that ended before it wrote its summary."""


class Found(NamedTuple):
    """A folder with a summary.

    Attributes:
        path: The folder as the report names it.
        folder: The folder.
        summary: Its ``summary.json``; whether that is a run's has still to be seen.
    """

    path: str
    folder: Path
    summary: Mapping[str, Any]


class LeftOut(NamedTuple):
    """Something that does not count.

    Attributes:
        path: What it is.
        reason: Why, in words that are the same for all of a kind.
        detail: What there is to say of this one; may be empty.
    """

    path: str
    reason: str
    detail: str = ""

    @property
    def is_run(self) -> bool:
        """Whether it is a whole folder, not a file of a run that counts."""
        return not self.path.endswith("/metrics.csv")


def find_runs(folders: Sequence[Path | str]) -> tuple[list[Found], list[LeftOut]]:
    """Read every ``summary.json`` below the folders; each place once, whatever links lead there.

    Args:
        folders: In any order; one may lie within another.

    Returns:
        What was found, and what could not be read, both sorted by path.

    Raises:
        SettingError: If there is no such folder, or none is named.
    """
    if not folders:
        raise SettingError("folder", None, "expected the folder of a sweep, or several")
    for folder in folders:
        if not Path(folder).is_dir():
            raise SettingError("folder", str(folder), "there is no such folder")
    roots = sorted({Path(folder).resolve() for folder in folders})
    start = Path(os.path.commonpath(roots))
    found: list[Found] = []
    left_out: list[LeftOut] = []
    for folder, names in _walk(roots, start, left_out):
        path = shown(os.path.relpath(folder, start))
        if SUMMARY in names:
            read = _read(path, folder)
            (found if isinstance(read, Found) else left_out).append(read)  # type: ignore[arg-type]
        elif not names.isdisjoint(_TRACES) and not _within_run(folder, start):
            left_out.append(LeftOut(path, f"{SUMMARY} is missing"))
    return sorted(found, key=lambda run: run.path), sorted(left_out)


def _walk(
    roots: list[Path], start: Path, left_out: list[LeftOut]
) -> Iterator[tuple[Path, set[str]]]:
    """Yield every folder once, with the names in it.

    Links are followed within the roots, never out of them nor in a circle.
    """
    seen: set[Path] = set()
    left = MOST
    waiting = roots[::-1]
    while waiting:
        folder = waiting.pop()
        try:
            link, folder = folder, folder.resolve()
            if folder in seen:
                continue
            path = shown(os.path.relpath(link, start))
            if not any(folder.is_relative_to(root) for root in roots):
                left_out.append(LeftOut(path, "the folder is a link that leads out of the sweep"))
                continue
            seen.add(folder)
            with os.scandir(folder) as entries:
                listed = sorted(islice(entries, left + 1), key=lambda entry: entry.name)
            waiting += [Path(entry.path) for entry in listed[::-1] if _is_folder(entry)]
        except (OSError, RuntimeError) as error:  # links that lead to each other
            reason = getattr(error, "strerror", None) or str(error)
            left_out.append(
                LeftOut(shown(os.path.relpath(folder, start)), "the folder cannot be read", reason)
            )
            continue
        left -= len(listed)
        if left < 0:
            reason = f"there are more than {MOST} files and folders to look at"
            left_out.append(LeftOut(path, reason, "the rest is left out"))
            return
        yield folder, {entry.name for entry in listed}


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False


def _within_run(folder: Path, start: Path) -> bool:
    """Whether the folder is a part of a run's, such as that of a logger."""
    above = [parent for parent in folder.parents if parent.is_relative_to(start)]
    return any((parent / SUMMARY).is_file() for parent in above)


def _read(path: str, folder: Path) -> Found | LeftOut:
    try:
        if not (folder / SUMMARY).is_file():  # a pipe would be waited for
            return LeftOut(path, f"{SUMMARY} cannot be read", "it is not a file")
        summary, missing = read_summary(folder)
    except SettingError as error:
        return LeftOut(path, f"{SUMMARY} has a format that is not known here", error.remedy)
    except OSError as error:
        return LeftOut(path, f"{SUMMARY} cannot be read", error.strerror or str(error))
    if summary:
        return Found(path, folder, summary)
    if missing == [f"{SUMMARY} holds no summary"]:
        return LeftOut(path, f"{SUMMARY} is not one of lightning-dice")
    detail = missing[0].removeprefix(f"{SUMMARY} cannot be read (").removesuffix(")")
    return LeftOut(path, f"{SUMMARY} cannot be read", detail)
