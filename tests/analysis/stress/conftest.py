"""Folders of runs that were measured, and of runs that were not."""

import pytest

from lightning_dice.analysis.stress import Stress
from lightning_dice.analysis.sweep.gather import Sweep
from support.stress import Measured
from support.sweeps import Folder


@pytest.fixture
def measured(tmp_path):
    """An empty folder: see ``Measured``."""
    return Measured(tmp_path / "measured")


@pytest.fixture
def plain_runs(tmp_path):
    """A folder of runs that keep no checkpoint: only what training came to is known."""
    folder = Folder(tmp_path / "runs")
    folder.stress = lambda: Stress.of(Sweep.load([folder.path]), {})
    return folder


@pytest.fixture(autouse=True)
def coarse(monkeypatch):
    """Pictures that are seen by nobody take no time."""
    monkeypatch.setattr("lightning_dice.analysis.style.DPI", 40)
