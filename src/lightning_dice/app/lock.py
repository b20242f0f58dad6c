"""One process at a time in the folder of a run, by a lock that ends with the process."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from lightning_dice.rules import SettingError

LOCK = ".lock"
"""Is in the folder of a run while a process trains there, and says which one that is."""
_EVERY = 0.1
"""Seconds between two attempts."""
_ATTEMPTS = 3
"""Before a process gives up, as whoever asks for the holder of a folder holds it for a moment."""
_UNKNOWN = (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK)
"""What a file system says that knows no locks; there nothing can be refused."""
_LONGEST = 1000
"""Bytes that are read of a lock."""
_mine: set[Path] = set()
"""The folders that this process holds."""


class Held(SettingError):  # noqa: N818 - reads as what it says
    """Another process trains in the folder."""


@contextmanager
def holding(folder: Path, waits: Callable[[str], None] | None = None) -> Iterator[None]:
    """Let no other process train in ``folder``; what this process holds already it may hold again.

    The file of the lock is there as long as it is held. A process that is killed leaves it, and the
    next one takes it.

    Args:
        folder: The folder of a run; it exists.
        waits: Is told who holds the folder, and then this process waits for it. ``None`` refuses.

    Raises:
        Held: If another process holds the folder.
        SettingError: If the folder cannot be written.
    """
    place = folder.resolve()
    if place in _mine:
        yield
        return
    try:
        held = _take(place / LOCK, place, waits)
    except OSError as error:
        remedy = f"cannot be written ({error.strerror}); choose another"
        raise SettingError("hydra.run.dir", str(folder), remedy) from error
    _mine.add(place)
    try:
        yield
    finally:
        _mine.discard(place)
        with suppress(OSError):  # the folder may be gone, or read-only by now
            (place / LOCK).unlink()
        os.close(held)


def holder(folder: Path) -> str | None:
    """Say which process holds the folder of a run; ``None`` if none does.

    Args:
        folder: The folder of a run.
    """
    try:
        found = os.open(folder / LOCK, os.O_RDONLY)
    except OSError:
        return None
    try:
        fcntl.flock(found, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _words(found)
    except OSError:
        return None
    finally:
        os.close(found)
    return None


def clear(folder: Path) -> None:
    """Delete the lock of a process that was killed in ``folder``, if there is one."""
    if (folder / LOCK).exists():
        with suppress(SettingError), holding(folder):
            pass


def _take(path: Path, folder: Path, waits: Callable[[str], None] | None) -> int:
    attempts = 0
    while True:
        found = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            if _lock(found):
                # Who held it before has deleted it: another process may hold a newer one.
                if _is_still(path, found):
                    os.ftruncate(found, 0)
                    os.write(found, json.dumps(_description()).encode())
                    return found
                os.close(found)
                continue
            who = _words(found)
        except BaseException:
            os.close(found)
            raise
        os.close(found)
        attempts += 1
        if attempts == _ATTEMPTS and waits is not None:
            waits(who)
        elif attempts == _ATTEMPTS:
            remedy = f"is held by {who}, which trains there; wait for its end, or end it first"
            raise Held("hydra.run.dir", str(folder), remedy)
        time.sleep(_EVERY)


def _lock(found: int) -> bool:
    try:
        fcntl.flock(found, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _UNKNOWN:
            raise
    return True


def _is_still(path: Path, found: int) -> bool:
    try:
        return os.path.samestat(os.fstat(found), path.stat())
    except FileNotFoundError:
        return False


def _description() -> dict[str, str | int]:
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return {"host": socket.gethostname(), "pid": os.getpid(), "since": now}


def _words(found: int) -> str:
    try:
        about = json.loads(os.pread(found, _LONGEST, 0))
        return f"process {about['pid']} on {about['host']} since {about['since']}"
    except (OSError, ValueError, LookupError, TypeError):
        return "another process"  # which has not said yet who it is
