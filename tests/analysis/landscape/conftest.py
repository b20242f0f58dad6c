"""A small landscape whose numbers are known."""

from types import SimpleNamespace

import numpy as np
import pytest

from lightning_dice.analysis.landscape import Landscape, Line, Member, Path, Plane, Slice
from lightning_dice.analysis.landscape.moves import moves_between
from lightning_dice.records import RollRecord
from lightning_dice.rules import SavingThrow

THROW = SavingThrow("d20", threshold=10)
NATURALS = (17, 3, 1, 20, 12, 9, 8, 15)


def record(step, natural, slot=0):
    roll = THROW.resolve(natural)
    return RollRecord(step, step, 0, slot, natural, roll.total, roll.outcome, roll.scale)


RECORDS = [record(step, natural) for step, natural in enumerate(NATURALS)]
AXIS = np.linspace(-1, 1, 5)


def path(label, moves=()):
    steps = np.array([0, 2, 4, 6, 8])
    at = np.stack([np.linspace(2, 0, 5), np.linspace(0, 1, 5) ** 2], axis=1)
    losses = np.linspace(2, 0.1, 5)
    return Path(label, steps, at, losses, losses + 0.01, np.linspace(0.5, 0.1, 5), moves)


@pytest.fixture
def parts():
    """Parts of a landscape of two runs, to be put together."""
    bowl = 0.1 + AXIS[:, None] ** 2 + 2 * AXIS**2
    at = np.linspace(0, 1, 5)
    moves = moves_between(RECORDS, [0, 2, 4, 6, 8])
    plain, dice = path("plain"), path("dice at 10", moves)
    return SimpleNamespace(
        members=(Member("plain", "a"), Member("dice at 10", "b")),
        examples=359,
        slices=(Slice("plain", AXIS, bowl), Slice("dice at 10", AXIS, 50 * bowl)),
        plane=Plane("plain", AXIS, AXIS, bowl, (0.9, 0.05), (plain, dice)),
        lines=(Line("plain", "dice at 10", at, (at**2 - at + 0.3), 1 - at / 2),),
        omissions=(),
        notes=(),
        settings={"grid": 5, "span": 1.0, "seed": 0},
    )


@pytest.fixture
def landscape(parts):
    return Landscape(**vars(parts))
