import pickle

from lightning_dice.rules import SettingError


def test_names_setting_value_and_remedy():
    error = SettingError("seed", -1, "expected 0 or more")
    assert str(error) == "seed=-1: expected 0 or more"
    assert isinstance(error, ValueError)


def test_survives_the_trip_from_a_worker():
    error = pickle.loads(pickle.dumps(SettingError("die", "dX", "expected dice notation")))
    assert type(error) is SettingError
    assert (error.setting, error.value, error.remedy) == ("die", "dX", "expected dice notation")
    assert str(error) == "die='dX': expected dice notation"
