"""The files of a report over many runs: its page, and its tables and plots for use elsewhere."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path

import pandas as pd

from lightning_dice.analysis.report import REPORT
from lightning_dice.analysis.sweep.tables import as_csv, as_markdown
from lightning_dice.foreign import make_inside
from lightning_dice.pages import write_whole
from lightning_dice.rules import SettingError


def write_files(
    folder: Path,
    page: str,
    tables: Mapping[str, pd.DataFrame],
    images: Mapping[str, bytes],
    stems: Collection[str],
) -> Path:
    """Write a report into a folder, which is made if it is not there.

    Args:
        folder: Gets ``report.html``, ``tables/`` and ``plots/``.
        page: The page.
        tables: By their names; each is written for programs and for people.
        images: The PNG of each plot, by its name.
        stems: What names of such plots begin with, apart from their numbers: those of a report
            from before that had more to show are taken away.

    Returns:
        The page.

    Raises:
        SettingError: If the folder cannot be written to.
    """
    ours = re.compile(rf"({'|'.join(map(re.escape, stems))})(-\d+)?\.png")
    try:
        for name in ("plots", "tables"):
            make_inside(folder, name)
        for name, table in tables.items():
            write_whole(folder / "tables" / f"{name}.csv", as_csv(table))
            write_whole(folder / "tables" / f"{name}.md", as_markdown(table))
        for name, image in images.items():
            write_whole(folder / "plots" / f"{name}.png", image)
        for path in (folder / "plots").iterdir():
            if ours.fullmatch(path.name) and path.stem not in images:
                path.unlink()
        # Last, so that a page never stands beside files that are older than itself.
        write_whole(folder / REPORT, page.encode())
    except OSError as error:
        raise SettingError(
            "out", str(folder), f"{REPORT} cannot be written there ({error.strerror or error})"
        ) from error
    return folder / REPORT
