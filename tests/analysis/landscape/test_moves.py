"""What was rolled on the way to a point: by hand, and as rolls.csv has it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_dice.analysis.landscape.moves import Move, moves_between, read_moves
from lightning_dice.records import RollLog
from lightning_dice.rules import Outcome

from .conftest import NATURALS, RECORDS, THROW, record


@given(st.lists(st.integers(0, 8), min_size=1, max_size=6, unique=True).map(sorted))
def test_every_roll_is_on_the_way_to_the_next_point(steps):
    moves = moves_between(RECORDS, steps)
    for start, end, move in zip([0, *steps[:-1]], steps, moves, strict=True):
        scales = [THROW.resolve(natural).scale or 0.0 for natural in NATURALS[start:end]]
        assert move.rolls == len(scales)
        assert move.mean_scale == (pytest.approx(np.mean(scales)) if scales else None)
        assert move.last == ((RECORDS[end - 1],) if scales else ())


@pytest.mark.parametrize(
    ("naturals", "outcome"),
    [
        ([17], Outcome.SUCCESS),
        ([1], Outcome.CRITICAL_FAILURE),
        ([1, 1], Outcome.CRITICAL_FAILURE),
        ([20, 20, 20], Outcome.CRITICAL_SUCCESS),
        ([3, 12], Outcome.SUCCESS),  # -0.35 and 0.6
        ([3, 3, 10], Outcome.FAILURE),  # -0.35, -0.35 and 0.5
        ([1, 20], Outcome.SUCCESS),  # 0 and 1
    ],
)
def test_several_rolls_of_a_step_come_to_one_outcome(naturals, outcome):
    rolls = [record(0, natural, slot) for slot, natural in enumerate(naturals)]
    (_, move) = moves_between(rolls, [0, 1])
    assert move.outcome is outcome
    scales = [roll.scale for roll in rolls]
    alone = len(rolls) == 1
    assert move.scale == (scales[0] if alone else pytest.approx(np.mean([s or 0 for s in scales])))


def test_no_rolls_come_to_nothing():
    assert moves_between([], [0, 4]) == (Move(0, None, ()),) * 2
    assert Move(0, None, ()).outcome is None
    assert Move(0, None, ()).scale is None


def test_a_file_is_read(tmp_path):
    log, path = RollLog(), tmp_path / "rolls.csv"
    log.open(path, 0)
    for roll in RECORDS:
        log.append(roll)
    log.close()
    assert read_moves(path, [0, 3, 8]) == (moves_between(RECORDS, [0, 3, 8]), None)


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    assert read_moves(tmp_path / "rolls.csv", [0]) == ((), "rolls.csv is missing")
    (tmp_path / "rolls.csv").write_text("step,face\n")
    moves, missing = read_moves(tmp_path / "rolls.csv", [0])
    assert moves == ()
    assert "expected columns" in missing
