"""The command ``lightning-dice-train`` in processes of its own that need not import it first.

Nearly all of a short command is imports. One process makes them, does nothing else, and forks for
each command that a test runs: real processes that share nothing, with real signals and exit
statuses. How the script itself starts is for tests that start it as users do.
"""

from __future__ import annotations

import atexit
import functools
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

COMMAND = Path(sys.executable).with_name("lightning-dice-train")


def environment(**variables):
    """The variables of a command: those of the tests, and ``variables``."""
    shared = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "80"}
    shared.pop("HYDRA_FULL_ERROR", None)
    return {**shared, **variables}


class Command:
    """A command that has begun, in the manner of ``subprocess.Popen``.

    Args:
        arguments: What follows its name.
        folder: Where it is run.
        variables: Of its environment, besides those of every command.
        before: Code that its process runs first.
        fresh: Whether the ranks and workers that it starts are interpreters of their own, as a
            user's are, or forks of it, in which ``before`` has been run too.
    """

    def __init__(self, arguments, folder, variables=(), before="", fresh=False):
        self.args = [str(COMMAND), *map(str, arguments)]
        told = {"argv": self.args, "cwd": str(folder), "before": before, "fresh": fresh}
        told["environment"] = environment(**dict(variables))
        self._files, self.pid = _server().begin(told)

    def poll(self):
        """Its exit status, ``None`` before its end."""
        with suppress(FileNotFoundError):
            return int((self._files / "status").read_text())
        return None

    def wait(self, timeout):
        """Wait for its exit status."""
        until = time.monotonic() + timeout
        while (status := self.poll()) is None:
            if time.monotonic() > until:
                raise subprocess.TimeoutExpired(self.args, timeout)
            time.sleep(0.01)
        return status

    def stdout(self):
        """What it has printed so far."""
        with suppress(FileNotFoundError):  # it has not even begun
            return (self._files / "stdout").read_text(encoding="utf-8")
        return ""

    def communicate(self, timeout=240):
        """Wait for its end; its exit status and all that it said."""
        try:
            status = self.wait(timeout)
        finally:
            self.kill()
        stderr = (self._files / "stderr").read_text(encoding="utf-8")
        return subprocess.CompletedProcess(self.args, status, self.stdout(), stderr)

    def ranks(self):
        """The processes that train, by rank, where they are forks: those that are there."""
        numbers = {int(path.name[4:]): int(path.read_text()) for path in self._files.glob("rank?")}
        return {rank: pid for rank, pid in numbers.items() if _lives(pid)}

    def kill(self):
        """End it, and what it has started, by SIGKILL, unless it has ended."""
        if self.poll() is None:
            os.killpg(self.pid, signal.SIGKILL)
            self.wait(60)


def run(arguments, folder, variables=(), before="", fresh=False):
    """Run a command to its end; as ``Command``."""
    return Command(arguments, folder, variables, before, fresh).communicate()


def _lives(pid):
    with suppress(OSError):
        return bool(
            Path(f"/proc/{pid}/cmdline").read_bytes()
        )  # empty of what has only to be reaped
    return False


class _Server:
    def __init__(self):
        self._numbers = itertools.count()
        self._scratch = TemporaryDirectory(prefix="lightning-dice-commands-")
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("forks.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment(),
        )

    def begin(self, told):
        files = Path(self._scratch.name, str(next(self._numbers)))
        files.mkdir()
        self._process.stdin.write(f"{json.dumps({**told, 'files': str(files)})}\n")
        self._process.stdin.flush()
        return files, int(self._process.stdout.readline())

    def end(self):
        self._process.stdin.close()
        self._process.wait(60)
        self._process.stdout.close()
        self._scratch.cleanup()


@functools.cache
def _server():
    server = _Server()
    atexit.register(server.end)
    return server
