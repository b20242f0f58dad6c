"""Opens files of a run's folder, which may have come from somebody else: bounded, and inside it.

Only regular files are read, never through a link that leads out of the folder, and no more of one
than its kind may hold. Whatever is wrong is one sentence: ``Unreadable``.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

MB = 10**6
SETTINGS = 1 * MB
"""Most bytes of a file of settings: ``config.yaml``, ``summary.json``, ``saving_throw.json``."""
RECORD = 16 * MB
"""Most bytes of a file that grows with the model: ``stress.json``, ``trajectory.json``."""
TABLE = 1000 * MB
"""Most bytes of a table: ``rolls.csv``, ``metrics.csv``, ``slots.csv``."""
LINE = 1 * MB
"""Most bytes of one line of a table."""
_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


class Unreadable(ValueError):  # noqa: N818 - says what a file is
    """A file that is there and cannot be read; the message says why, without naming it."""


def open_file(path: Path, most: int, root: Path | None = None) -> BinaryIO:
    """Open a regular file for reading, without ever waiting for it.

    Args:
        path: The file.
        most: Most bytes that it may have.
        root: The folder that the file must lie in, whatever links lead to it; its parent by
            default.

    Raises:
        FileNotFoundError: If there is none.
        Unreadable: If it is something else than a file, too large, or cannot be opened.
    """
    try:
        place = path.resolve(strict=True)
        if not place.is_relative_to((root or path.parent).resolve()):
            raise Unreadable(OUTSIDE)
        # Opening a pipe would wait for its other end, unless told not to.
        flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
        descriptor = os.open(place, flags | getattr(os, "O_NOFOLLOW", 0))
    except FileNotFoundError:
        if path.is_symlink():
            raise Unreadable("is a link that leads nowhere") from None
        raise
    except (OSError, RuntimeError) as error:
        raise Unreadable(f"cannot be opened ({_words(path, error)})") from error
    try:
        _check(os.fstat(descriptor), most)
    except Unreadable:
        os.close(descriptor)
        raise
    return os.fdopen(descriptor, "rb")


OUTSIDE = "is a link that leads out of the folder"


def read_bytes(path: Path, most: int, root: Path | None = None) -> bytes:
    """Read a whole file; see ``open_file``."""
    with open_file(path, most, root) as file:
        try:
            content = file.read(most + 1)
        except OSError as error:
            raise Unreadable(f"cannot be read ({_words(path, error)})") from error
    if len(content) > most:  # it grows while it is read, or says that it has no bytes
        raise Unreadable(_too_large(most))
    return content


def read_text(path: Path, most: int, root: Path | None = None) -> str:
    """Read a whole text; bytes that are not UTF-8 are replaced."""
    text = read_bytes(path, most, root).decode("utf-8", "replace")
    return text.removeprefix("\N{BYTE ORDER MARK}")


def read_lines(path: Path, most: int = TABLE, root: Path | None = None) -> Iterator[str]:
    r"""Read a text line by line; bytes that are not UTF-8 are replaced.

    A last line without its end was cut short by a crash, and is left out.

    Raises:
        FileNotFoundError: If there is no such file.
        Unreadable: If it cannot be opened, or, on the way, if a line is too long.
    """
    with open_file(path, most, root) as file:
        first, left = True, most
        while line := _line(path, file, left):
            left -= len(line)
            if not line.endswith(b"\n"):
                return
            text = line.decode("utf-8", "replace")
            yield text.removeprefix("\N{BYTE ORDER MARK}") if first else text
            first = False


def inside(path: Path, root: Path) -> bool:
    """Tell whether a path lies in a folder when all links on the way are followed."""
    try:
        return path.resolve().is_relative_to(root.resolve())
    except (OSError, RuntimeError):  # links that lead to each other
        return False


def make_inside(folder: Path, name: str) -> Path:
    """Make the folder ``name`` in a folder, if it is not there.

    Raises:
        OSError: If it cannot be made, or is a link that leads out of the folder.
    """
    place = folder / name
    if not inside(place, folder):
        raise OSError(errno.ELOOP, f"{name} {OUTSIDE}; remove it")
    place.mkdir(parents=True, exist_ok=True)
    return place


def shown(path: Path | str) -> str:
    r"""Write a path as text that any file and any screen takes.

    Example:
        >>> shown("runs/a\udcffb")
        'runs/a\\xffb'
    """
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _line(path: Path, file: BinaryIO, left: int) -> bytes:
    try:
        line = file.readline(min(LINE, left) + 1)
    except OSError as error:
        raise Unreadable(f"cannot be read ({_words(path, error)})") from error
    if len(line) > left:
        raise Unreadable(_too_large(TABLE))
    if len(line) > LINE:
        raise Unreadable(f"has a line of more than {LINE // MB} MB")
    return line


def _check(found: os.stat_result, most: int) -> None:
    if not stat.S_ISREG(found.st_mode):
        kind = next((name for test, name in _KINDS if test(found.st_mode)), "something else")
        raise Unreadable(f"is {kind}, and only regular files are read")
    if found.st_size > most:
        raise Unreadable(_too_large(most))


def _too_large(most: int) -> str:
    return f"is larger than {most // MB} MB, the most that is read of such a file"


def _words(path: Path, error: Exception) -> str:
    if isinstance(error, RuntimeError) or getattr(error, "errno", None) == errno.ELOOP:
        return "its links lead to each other"
    if path.is_socket():
        return "it is a socket, and only regular files are read"
    return getattr(error, "strerror", None) or str(error)
