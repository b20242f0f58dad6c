import pickle

import numpy as np
import pytest

from lightning_dice.rules import SavingThrow, SettingError
from lightning_dice.rules.roller import check_seed


def test_names_setting_value_and_remedy():
    error = SettingError("seed", -1, "expected 0 or more")
    assert str(error) == "seed=-1: expected 0 or more"
    assert isinstance(error, ValueError)


def test_survives_the_trip_from_a_worker():
    error = pickle.loads(pickle.dumps(SettingError("die", "dX", "expected dice notation")))
    assert type(error) is SettingError
    assert (error.setting, error.value, error.remedy) == ("die", "dX", "expected dice notation")
    assert str(error) == "die='dX': expected dice notation"


@pytest.mark.parametrize("kind", [np.int8, np.uint64, int])
def test_numpys_whole_numbers_are_whole_numbers(kind):
    throw = SavingThrow("d20", kind(7))
    assert type(throw.threshold) is int
    assert type(check_seed(kind(7))) is int


@pytest.mark.parametrize("value", [np.bool_(True), True, np.float64(7), 7.0, "7", None])
def test_nothing_else_is(value):
    with pytest.raises(SettingError, match="expected a whole number"):
        SavingThrow("d20", value)
