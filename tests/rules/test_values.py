"""Values of the game are copied, pickled and shown as what they are, and cannot be changed."""

import copy
import pickle
from dataclasses import FrozenInstanceError
from fractions import Fraction

import pytest

from lightning_dice.rules import Die, Outcome, SavingThrow
from lightning_dice.rules.values import FrozenMapping

TABLE = SavingThrow("d4", 2, [None, -0.5, 0.5, 1])
VALUES = [TABLE, TABLE.odds(), Die.parse("2d20kh1-1"), TABLE.resolve(2), Outcome.FAILURE]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_a_copy_and_what_was_pickled_are_equal(value):
    copies = copy.copy(value), copy.deepcopy(value), pickle.loads(pickle.dumps(value))
    assert all(one == value and type(one) is type(value) for one in copies)


def test_odds_that_were_pickled_are_exact():
    odds = pickle.loads(pickle.dumps(TABLE.odds()))
    assert odds.scales == {s: Fraction(1, 4) for s in (None, Fraction(-1, 2), Fraction(1, 2), 1)}
    assert odds.mean == Fraction(1, 4)


@pytest.mark.parametrize(
    ("value", "field"), [(TABLE, "threshold"), (TABLE.odds(), "mean"), (Die(6), "sides")]
)
def test_a_field_takes_no_other_value_than_it_has(value, field):
    setattr(value, field, getattr(value, field))
    for other in (99, None, float(getattr(value, field))):
        with pytest.raises(FrozenInstanceError):
            setattr(value, field, other)
    with pytest.raises(FrozenInstanceError):
        value.another = 1


def test_a_frozen_mapping_is_shown_and_compared_as_a_mapping():
    mapping = FrozenMapping({"a": 1})
    assert repr(mapping) == "FrozenMapping({'a': 1})"
    assert mapping == {"a": 1}
    with pytest.raises(TypeError):
        mapping["a"] = 2
