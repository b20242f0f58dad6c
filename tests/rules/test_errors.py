import pickle
from collections import OrderedDict, deque

import numpy as np
import pytest

from lightning_dice.rules import Roll, SavingThrow, SettingError
from lightning_dice.rules.errors import LONGEST, shown
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


class Hostile:
    def __repr__(self):
        raise RuntimeError


RECURSIVE: list = []
RECURSIVE.append(RECURSIVE)
DEEP: list = []
for _ in range(10_000):
    DEEP = [DEEP]
DOUBLING: list = ["x"]
for _ in range(60):
    DOUBLING = [DOUBLING, DOUBLING]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (list(range(100)), repr(list(range(100)))),
        ({"a": [1, (2,)]}, "{'a': [1, (2,)]}"),
        ([1] * 101, f"[{'1, ' * 100}...]"),
        ((1,) * 101, f"({'1, ' * 100}...)"),
        (dict.fromkeys(range(101)), "{0: None, 1: None, "),
        ([[[[[]]]]], "[[[[...]]]]"),
        (RECURSIVE, "[[[[...]]]]"),
        (DEEP, "[[[[...]]]]"),
        (DOUBLING, "[[[[..., ...], [..., ...]], "),
        (
            Roll(DOUBLING, 1, "x", 1.0),
            "([[[..., ...], [..., ...]], [[..., ...], [..., ...]]], 1, 'x'",
        ),
        (deque([DOUBLING]), "([[[..., ...], [..., ...]], "),
        (OrderedDict(die=DOUBLING), "{'die': [[[..., ...], [..., ...]], "),
        (SavingThrow().resolve(20), "Roll(natural=20, total=20, outcome=<Outcome.CRITICAL_SUCCESS"),
        ({1}, "{1}"),
        (10**5000, "<int that is too large to show>"),
        (Hostile(), "<Hostile that is impossible to show>"),
        ([Hostile()], "<list that is impossible to show>"),
        ("x" * 10**7, "'xxx"),
        (["x" * 10**7], "['xxx"),
        (b"x" * 10**7, "b'xxx"),
        ("\udc80", "'\\udc80'"),
        (np.eye(2), "array([[1., 0.], [0., 1.]])"),
        ("\x1b[1m", "'\\x1b[1m'"),
    ],
    ids=range(23),
)
def test_a_message_shows_little_of_a_large_value_and_something_of_any(value, text):
    assert shown(value).startswith(text)
    assert len(shown(value)) <= LONGEST
    error = SettingError("x" * 10**7, value, "none of the kind")
    assert len(str(error)) < 3 * LONGEST
    assert error.value is value


def test_a_cut_value_shows_its_beginning_and_its_end():
    assert shown("a" * 400 + "b" * 400) == f"'{'a' * 329} ... {'b' * 164}'"


def test_a_name_of_a_setting_is_a_line():
    assert str(SettingError("throw.a\n\x1b", 1, "is none")) == r"throw.a \x1b=1: is none"


def test_a_message_can_be_printed_whatever_it_is_about():
    error = SettingError("folder", "a\udcffb", "is no folder: a\udcffb")
    assert str(error) == r"folder='a\udcffb': is no folder: a\udcffb"


class NarrowError(SettingError):
    pass


@pytest.mark.parametrize("value", [Hostile(), (n for n in ()), lambda: 1, [1, 2]])
def test_whatever_value_it_is_about_it_survives_the_trip(value):
    error = NarrowError("die", value, "expected dice notation")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is NarrowError
    assert (again.setting, again.value, again.remedy) == ("die", shown(value), error.remedy)
    assert str(again) == str(error)


@pytest.mark.parametrize("kind", [np.int8, np.uint64, int])
def test_numpys_whole_numbers_are_whole_numbers(kind):
    throw = SavingThrow("d20", kind(7))
    assert type(throw.threshold) is int
    assert type(check_seed(kind(7))) is int


@pytest.mark.parametrize("value", [np.bool_(True), True, np.float64(7), 7.0, "7", None])
def test_nothing_else_is(value):
    with pytest.raises(SettingError, match="expected a whole number"):
        SavingThrow("d20", value)
