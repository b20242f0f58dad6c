"""Whole sweeps with a made-up truth, and the fixtures of single runs."""

import math
from itertools import product

import numpy as np
import pytest

from lightning_dice.rules import SavingThrow
from support.sweeps import Folder, Page, odds_of, summary_of, write_run


def accuracy_of(throw, control, noise):
    """A made-up truth: what is learned falls with the efficiency; controls lose less."""
    odds = odds_of(throw)
    kept = {"none": odds["efficiency"], "deck": odds["efficiency"] ** 0.9}.get(control, 1.0)
    if control == "gaussian":
        kept = odds["efficiency"]
    if control == "plain_mean":
        kept = min(1.0, 0.4 + odds["mean"])
    learned = 1 / (1 + math.exp(-12 * (kept - 0.25)))
    return float(np.clip(0.1 + 0.87 * learned + noise, 0, 1))


def write_sweep(
    folder,
    thresholds=(2, 5, 8, 11, 15, 18),
    dice=("d20",),
    seeds=range(5),
    controls=("plain", "plain_mean", "gaussian", "deck"),
    targets=("gradient", "update"),
    optimizers=("sgd", "adamw"),
    spread=0.004,
):
    """A whole sweep in numbered folders, as Hydra leaves them; returns how many runs it has."""
    random, count = np.random.default_rng(0), 0
    for optimizer, seed in product(optimizers, seeds):
        luck = spread * random.standard_normal()
        arms = [("plain", SavingThrow(), "gradient")] if "plain" in controls else []
        for die, threshold in product(dice, thresholds):
            try:
                throw = SavingThrow(die, threshold)
            except ValueError:
                continue
            if "plain_mean" in controls and throw.odds().mean > 0:
                arms.append(("plain_mean", throw, "gradient"))
            rolled = ["none", *(c for c in controls if not c.startswith("plain"))]
            arms += [(c, throw, t) for c, t in product(rolled, targets)]
        for control, throw, target in arms:
            noise = luck + spread * random.standard_normal() / 2
            final = accuracy_of(throw, control, noise)
            summary = summary_of(final, seed, control, throw, target, optimizer=optimizer)
            write_run(folder / str(count), summary)
            count += 1
    return count


@pytest.fixture
def sweep(tmp_path):
    """An empty sweep: see ``Folder``."""
    return Folder(tmp_path / "sweep")


@pytest.fixture(scope="session")
def new_folder():
    """Makes a sweep's folder anywhere: see ``Folder``."""
    return Folder


@pytest.fixture(scope="session")
def make_sweep():
    """Writes a whole sweep: see ``write_sweep``."""
    return write_sweep


@pytest.fixture(scope="session")
def make_summary():
    """Makes a summary: see ``summary_of``."""
    return summary_of


@pytest.fixture(scope="session")
def make_run_folder():
    """Writes a run's folder: see ``write_run``."""
    return write_run


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
