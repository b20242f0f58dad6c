"""Programs that need packages which the environment of the tests does not have."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parents[1]
WITH_TESTS = {**os.environ, "PYTHONPATH": str(TESTS), "OMP_NUM_THREADS": "1"}
"""Environment variables of a process that has the helpers of the tests."""


def install(folder: Path, *packages: str, alone: bool = True) -> dict[str, str]:
    """Install packages on top of this environment, without touching it.

    Args:
        folder: Where they go.
        *packages: What pip is told.
        alone: Whether what they need is in this environment already.

    Returns:
        The environment variables of a process that has them, and the helpers of the tests.
    """
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    command = [*pip, *(["--no-deps"] if alone else []), "--target", str(folder), *packages]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    return {**WITH_TESTS, "PYTHONPATH": os.pathsep.join((str(folder), str(TESTS)))}


def run(command: Sequence[str | Path], *, check: bool = True, **settings: Any) -> Any:
    """Run a Python program to its end; one that fails shows what it printed."""
    done = subprocess.run(
        [sys.executable, *map(str, command)],
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
        **settings,
    )
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done
