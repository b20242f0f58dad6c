"""Imports what ``lightning-dice-train`` does, once, and forks for each command that is asked for.

It reads a line of JSON a command and answers each with the number of the new process. What that
says, and how it ends, is in the folder that the line names: ``stdout``, ``stderr`` and ``status``.

A command forks in its turn where it would start interpreters: the ranks of a job, and the processes
of joblib. The number of a rank is in the folder too.
"""

from __future__ import annotations

import gc
import json
import os
import runpy
import signal
import subprocess
import sys
import threading
import time
import traceback
from pathlib import Path

import sklearn.datasets  # noqa: F401 - of nearly every command's data
from joblib.externals.loky.backend import fork_exec
from lightning.fabric.utilities import rank_zero
from torch.distributed.elastic.multiprocessing.subprocess_handler import SubprocessHandler

import lightning_dice.app.worker  # noqa: F401 - what a rank runs
from lightning_dice.app.main import main


def asked_for():
    """What the next command is told: returns in its process; ``None`` where there are no more."""
    keepers = 0
    for line in sys.stdin:
        if os.fork():
            keepers += 1
            continue
        told = json.loads(line)
        command = os.fork()
        if not command:
            return told
        _, status = os.waitpid(command, 0)
        part = Path(told["files"], "part")
        part.write_text(str(os.waitstatus_to_exitcode(status)))
        part.replace(part.with_name("status"))
        os._exit(0)
    for _ in range(keepers):
        os.wait()
    return None


def become(told):
    """Make this process what its own start would have made it."""
    os.setsid()
    answers = os.dup(1)
    for number, name in enumerate((os.devnull, "stdout", "stderr")):
        file = os.open(Path(told["files"], name), os.O_RDWR | os.O_CREAT)
        os.dup2(file, number)
        os.close(file)
    os.write(answers, f"{os.getpid()}\n".encode())  # from here on it can be looked at and killed
    os.close(answers)
    os.chdir(told["cwd"])
    sys.argv[:] = told["argv"]
    live_in(told["environment"])
    folders = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:1] = [str(Path(sys.argv[0]).parent), *filter(None, folders)]


def live_in(environment):
    os.environ.clear()
    os.environ.update(environment)
    rank_zero.rank_zero_only.rank = rank_zero._get_rank() or 0  # as where Lightning is imported


def fork_in_place_of_interpreters(files):
    """Let what this process starts be forks of it; ``files`` is where ranks say their numbers."""

    class Rank:
        """In the manner of ``subprocess.Popen``."""

        def __init__(self, arguments, environment, out, err):
            outputs = {1: out, 2: err}
            kept = [(file.fileno(), number) for number, file in outputs.items() if file]
            self.pid, self.returncode = interpret(arguments, environment, kept, session=True), None
            Path(files, f"rank{environment['RANK']}").write_text(str(self.pid))

        def poll(self, wait=os.WNOHANG):
            if self.returncode is None:
                pid, status = os.waitpid(self.pid, wait)
                self.returncode = os.waitstatus_to_exitcode(status) if pid else None
            return self.returncode

        def wait(self, timeout=None):
            until = time.monotonic() + (timeout or float("inf"))
            while self.poll() is None:
                if time.monotonic() > until:
                    raise subprocess.TimeoutExpired(str(self.pid), timeout)
                time.sleep(0.01)
            return self.returncode

    def start_rank(self, arguments, environment):
        return Rank(arguments, environment, self._stdout, self._stderr)

    def start_worker(arguments, kept, env=None):
        return interpret(arguments, {**os.environ, **(env or {})}, [(fd, fd) for fd in kept])

    SubprocessHandler._popen = start_rank
    fork_exec.fork_exec = start_worker


def interpret(arguments, environment, kept, session=False):
    """Run ``python -m`` in a process of its own, which has of this one's files what is ``kept``."""
    if pid := os.fork():
        return pid
    status = 1
    try:
        gc.freeze()  # nothing of this process's may close a file whose number another has by now
        threading._threading_atexits.clear()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if session:
            os.setsid()
        for fd, number in kept:
            os.dup2(fd, number)
        ends = sorted({2, *(number for _, number in kept)})
        for before, after in zip(ends, [*ends[1:], os.sysconf("SC_OPEN_MAX")], strict=True):
            os.closerange(before + 1, after)
        live_in(environment)
        _, flag, module, *sys.argv[1:] = arguments
        assert flag == "-m"
        sys.modules.pop(module, None)  # it is run here as what it is to a new interpreter
        runpy.run_module(module, run_name="__main__", alter_sys=True)
        status = 0
    except SystemExit as ended:
        status = ended.code or 0
    except BaseException:
        traceback.print_exc()
    finally:
        for thread in threading.enumerate():
            if thread is not threading.current_thread() and not thread.daemon:
                thread.join()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status if isinstance(status, int) else 1)


if __name__ == "__main__":
    if told := asked_for():
        become(told)
        if not told["fresh"]:
            fork_in_place_of_interpreters(told["files"])
        exec(told["before"])
        main()
