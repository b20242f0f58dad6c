"""Starts ``worker.py`` and gathers what each of them left."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

WORKER = Path(__file__).with_name("worker.py")
TIMEOUT = 280

Ranks = list[dict[str, Any]]


def free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])


def train(folder: Path, processes: int, names: Iterable[str], **variables: str) -> dict[str, Ranks]:
    """What each rank left, by case; ``variables`` are for their environment."""
    path = os.pathsep.join([str(WORKER.parents[1]), os.environ.get("PYTHONPATH", "")])
    shared = {
        **os.environ,
        "PYTHONPATH": path,
        "OMP_NUM_THREADS": "1",
        "TORCHELASTIC_RUN_ID": "tests",
        "WORLD_SIZE": str(processes),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(free_port()),
        **variables,
    }
    names = list(names)
    group = subprocess.Popen(
        [sys.executable, str(WORKER), str(folder), *names], env=shared, start_new_session=True
    )
    try:
        code = group.wait(TIMEOUT)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(group.pid, signal.SIGKILL)  # its ranks with it
    assert code == 0, (folder / "rank0.log").read_text()[-3000:]
    return {name: [_left(folder, name, rank) for rank in range(processes)] for name in names}


def start_script(folder: Path, strategy: str) -> None:
    """Run ``script.py`` to its end."""
    path = os.pathsep.join([str(WORKER.parents[1]), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, str(WORKER.with_name("script.py")), str(folder), strategy],
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def _left(folder: Path, name: str, rank: int) -> dict[str, Any]:
    left: dict[str, Any] = json.loads((folder / f"{name}.{rank}.json").read_text())
    return left
