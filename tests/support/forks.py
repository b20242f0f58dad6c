"""Imports what ``lightning-dice-train`` does, once, and forks for each command that is asked for.

It reads a line of JSON a command and answers each with the number of the new process. What that
says, and how it ends, is in the folder that the line names: ``stdout``, ``stderr`` and ``status``.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import sklearn.datasets  # noqa: F401 - of nearly every command's data
from lightning.fabric.utilities import rank_zero

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
    os.environ.clear()
    os.environ.update(told["environment"])
    sys.argv[:] = told["argv"]
    folders = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:1] = [str(Path(sys.argv[0]).parent), *filter(None, folders)]
    rank_zero.rank_zero_only.rank = rank_zero._get_rank() or 0  # as where Lightning is imported


if __name__ == "__main__":
    if told := asked_for():
        become(told)
        exec(told["before"])
        main()
