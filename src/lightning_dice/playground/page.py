"""The page itself: one file that needs nothing beside it."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import get_args

from lightning_dice import __version__
from lightning_dice.pages import fill, write_whole
from lightning_dice.places import usable
from lightning_dice.playground.bundle import bundle
from lightning_dice.playground.lessons import LESSONS
from lightning_dice.playground.tables import tables
from lightning_dice.rules import Outcome, SettingError
from lightning_dice.rules.saving_throw import Normalize

_PAGE = files(__package__).joinpath("page")
_GENERATOR = "lightning-dice playground"


def playground() -> str:
    """The page as HTML: the same text whenever and wherever it is built.

    Example:
        >>> page = playground()
        >>> page.startswith("<!doctype html>"), len(page.encode()) < 300 * 1024
        (True, True)
        >>> page == playground()
        True
    """
    return fill(
        __package__,
        "page/playground.html.j2",
        generator=f"{_GENERATOR} {__version__}",
        version=__version__,
        lessons=LESSONS,
        outcomes=list(Outcome),
        normalizes=[(name, name) for name in get_args(Normalize)],
        style=_PAGE.joinpath("style.css").read_text(encoding="utf-8"),
        script=bundle(_PAGE, "app.js"),
        tables=_in_script(tables()),
    )


def write_playground(path: str | Path) -> Path:
    """Write the page, over an older one if there is one.

    Args:
        path: The file; its folder is made.

    Returns:
        The whole path.

    Raises:
        SettingError: If the path is a folder, or a file that is no such page.
    """
    path = Path(usable("out", path)).resolve()
    if path.is_dir():
        raise SettingError("out", str(path), "is a folder; name a file in it")
    if path.exists() and not path.is_file():  # a device may be read for ever, and never replaced
        raise SettingError("out", str(path), "is no file; name another")
    if path.exists() and _GENERATOR.encode() not in path.read_bytes()[:2000]:
        remedy = "exists and is no playground; name another file or move it away"
        raise SettingError("out", str(path), remedy)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, playground().encode())
    return path


def _in_script(data: object) -> str:
    """JSON that cannot end the script that it stands in."""
    return json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")
