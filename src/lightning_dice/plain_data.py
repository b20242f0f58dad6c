"""Reads JSON that may have come from somebody else: plain values, and not too many."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lightning_dice.foreign import SETTINGS, Unreadable, read_text

DEPTH = 32
"""Most levels of a file's values."""
DIGITS = 40
"""Most characters of a number in YAML, and digits of a whole number in JSON."""


def read_json(path: Path, most: int = SETTINGS, root: Path | None = None) -> Any:
    """Read a JSON file.

    Args:
        path: The file.
        most: Most bytes that it may have.
        root: The folder that it must lie in; its parent by default.

    Returns:
        Its value. Texts are such that they can be written: half of a character is replaced.

    Raises:
        FileNotFoundError: If there is none.
        Unreadable: If it cannot be read.
    """
    try:
        value = json.loads(read_text(path, most, root), parse_int=_whole)
    except json.JSONDecodeError as error:
        raise Unreadable(f"is no JSON ({error})") from error
    except RecursionError as error:
        raise Unreadable(TOO_DEEP) from error
    return _clean(value, DEPTH)


TOO_DEEP = f"is nested deeper than {DEPTH} levels"


def _whole(digits: str) -> int:
    if len(digits) > DIGITS:
        raise Unreadable(f"holds a whole number of {len(digits)} digits")
    return int(digits)


def _clean(value: Any, depth: int) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if not isinstance(value, dict | list):
        return value
    if depth == 0:
        raise Unreadable(TOO_DEEP)
    if isinstance(value, list):
        return [_clean(item, depth - 1) for item in value]
    return {_clean(key, 0): _clean(item, depth - 1) for key, item in value.items()}
