"""A small tolerance sweep, and folders to build others by hand."""

import pytest

from lightning_dice.analysis.sweep import Sweep
from lightning_dice.analysis.tolerance import Tolerance
from support.sweeps import Folder, Page
from support.tolerance import write_tolerance


@pytest.fixture(scope="session")
def small(tmp_path_factory):
    """Two optimizers, two targets, four thresholds, five seeds."""
    path = tmp_path_factory.mktemp("tolerance") / "sweep"
    return write_tolerance(path, thresholds=(2, 8, 11, 14), targets=("gradient", "update")).path


@pytest.fixture(scope="session")
def study(small):
    """What is computed from it."""
    return Tolerance.of(Sweep.load(small), "5%")


@pytest.fixture
def folder(tmp_path):
    """An empty sweep: see ``Folder``."""
    return Folder(tmp_path / "sweep")


@pytest.fixture(scope="session")
def load():
    """Reads a folder and computes everything."""
    return lambda folder, within="5%": Tolerance.of(Sweep.load(folder.path), within)


@pytest.fixture(scope="session")
def page_text():
    """The words of a page; its tags have to match."""

    def read(path):
        page = Page()
        page.feed(path.read_text("utf-8"))
        page.close()
        assert page.open == []
        return page

    return read
