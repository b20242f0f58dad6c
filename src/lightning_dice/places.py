"""Paths that a user gives: which of them a file system can have at all."""

from __future__ import annotations

import os
from pathlib import Path

from lightning_dice.foreign import OUTSIDE, inside
from lightning_dice.rules import SettingError
from lightning_dice.rules.errors import tried

LONGEST_NAME, LONGEST_PATH = 255, 4096
"""Bytes that Linux takes for one name and for a whole path."""


def usable(setting: str, given: object) -> str:
    """Return a path as text if a file system could have it.

    Args:
        setting: The setting's name.
        given: Text, or a path of ``pathlib``.

    Raises:
        SettingError: If it is neither, is empty, too long, or holds what no path can hold.

    Example:
        >>> from pathlib import Path
        >>> usable("out", Path("report"))
        'report'
    """
    if not isinstance(given, str | os.PathLike):
        raise SettingError(setting, given, "expected a path, such as 'outputs/dice'")
    path = tried(lambda one: os.fspath(one), given)
    if not isinstance(path, str) or not path:
        raise SettingError(setting, given, "expected a path, such as 'outputs/dice'")
    path = str.__str__(path)
    encoded = tried(os.fsencode, path)
    if encoded is None or b"\0" in encoded:
        raise SettingError(setting, path, "holds a character that no path can hold")
    names = encoded.split(os.fsencode(os.sep))
    if len(encoded) >= LONGEST_PATH or any(len(name) > LONGEST_NAME for name in names):
        remedy = f"is too long; a path has at most {LONGEST_PATH - 1} bytes, a name in it "
        raise SettingError(setting, path, f"{remedy}{LONGEST_NAME}")
    return path


def output_in(folder: Path, name: str) -> Path:
    """Return the folder of that name in a run's folder, where a command writes by default.

    A link in the current folder is the user's own, and followed.

    Raises:
        SettingError: If it is a link that leads out of the run's folder, which may be somebody
            else's.
    """
    place = folder / name
    if folder != Path() and not inside(place, folder):
        raise SettingError("out", str(place), f"{OUTSIDE}; remove it, or choose a folder by --out")
    return place
