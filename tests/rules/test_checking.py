"""Every check takes what is meant, gives back Python's own, and refuses all else by name."""

from collections import OrderedDict, deque
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from fractions import Fraction
from itertools import count

import numpy as np
import pytest

from lightning_dice.rules import SettingError
from lightning_dice.rules.checking import (
    LARGEST,
    MOST_ITEMS,
    finite_number,
    flag,
    in_order,
    listed_names,
    one_of,
    whole_number,
)

ALLOWED = "what is allowed"


class Rude:
    """Fails at whatever it is asked."""

    def __fail(self, *_):
        raise RuntimeError("rude")

    __index__ = __float__ = __len__ = __iter__ = __eq__ = __bool__ = __repr__ = __contains__ = (
        __fail
    )
    __hash__ = None
    dtype = property(__fail)


class Text(str):
    def __str__(self):
        raise RuntimeError("rude")

    __eq__ = __hash__ = None


class Name(StrEnum):
    MEAN = "mean"


class Plain(Enum):
    MEAN = "mean"


class Number(IntEnum):
    SEVEN = 7


def kind(value):
    return type(value).__name__


ANYTHING = [None, Rude(), {}, {"mean": 1}, b"mean", object(), Plain.MEAN, count(), np.ones(2), 1j]


@pytest.mark.parametrize("value", [7, np.int8(7), np.uint64(7), np.array(7), Number.SEVEN])
def test_a_whole_number(value):
    number = whole_number("x", value, ALLOWED, 7, 7)
    assert number == 7
    assert type(number) is int


NO_WHOLE = [7.0, "7", True, np.bool_(True), np.array(True), Fraction(7), Decimal(7), [7]]


@pytest.mark.parametrize("value", [*ANYTHING, *NO_WHOLE], ids=kind)
def test_what_is_no_whole_number(value):
    with pytest.raises(SettingError, match=f"x=.*: {ALLOWED}"):
        whole_number("x", value, ALLOWED)


@pytest.mark.parametrize(
    "value", [-1, 11, 10**5000, -(10**5000)], ids=["below", "above", "far above", "far below"]
)
def test_limits(value):
    with pytest.raises(SettingError, match=f"x=.*: {ALLOWED}"):
        whole_number("x", value, ALLOWED, 0, 10)
    assert whole_number("x", value, ALLOWED) == value


@pytest.mark.parametrize("value", [0.25, Fraction(1, 4), np.float32(0.25), np.float64(0.25)])
def test_a_finite_number(value):
    number = finite_number("x", value, ALLOWED)
    assert number == 0.25
    assert type(number) is float


NOT_FINITE = [float("nan"), float("inf"), "1", True, np.bool_(True), Decimal(1), 10**400, [1]]


@pytest.mark.parametrize("value", [*ANYTHING, *NOT_FINITE], ids=kind)
def test_what_is_no_finite_number(value):
    with pytest.raises(SettingError, match=f"x=.*: {ALLOWED}"):
        finite_number("x", value, ALLOWED)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_number_has_a_square(sign):
    assert finite_number("x", sign * LARGEST, ALLOWED) == sign * LARGEST
    with pytest.raises(SettingError, match=r"too large for E\[s\^2\]; expected at most 1e\+150"):
        finite_number("x", sign * 1e155, ALLOWED)


@pytest.mark.parametrize("value", ["mean", np.str_("mean"), Text("mean"), Name.MEAN])
def test_one_of_some_words(value):
    word = one_of("x", value, ("mean", "rms"), ALLOWED)
    assert word == "mean"
    assert type(word) is str


@pytest.mark.parametrize("value", [*ANYTHING, "Mean", ["mean"]], ids=kind)
def test_what_is_none_of_the_words(value):
    with pytest.raises(SettingError, match=f"x=.*: {ALLOWED}"):
        one_of("x", value, ("mean", "rms"), ALLOWED)


def test_a_flag():
    assert flag("x", True) is True
    assert flag("x", False) is False


@pytest.mark.parametrize("value", [*ANYTHING, "false", 0, 1, np.bool_(True)], ids=kind)
def test_what_is_no_flag(value):
    with pytest.raises(SettingError, match=r"x=.*: expected True or False"):
        flag("x", value)


@pytest.mark.parametrize(
    "value", [["a"], ("a",), {"a"}, {"a": 1}.keys(), np.array(["a"]), deque("a"), [Text("a")]]
)
def test_names(value):
    [name] = listed_names("x", value, ALLOWED)
    assert name == "a"
    assert type(name) is str


NO_NAMES = ["a", ["a", 1], [None], (name for name in "a"), ["a"] * (MOST_ITEMS + 1), range(10**12)]


@pytest.mark.parametrize("value", [*ANYTHING, *NO_NAMES], ids=kind)
def test_what_are_no_names(value):
    with pytest.raises(SettingError, match=f"x=.*: {ALLOWED}"):
        listed_names("x", value, ALLOWED)


@pytest.mark.parametrize("value", [[1, None], (1, None), deque([1, None])])
def test_items_in_order(value):
    assert in_order("x", value, ALLOWED) == [1, None]


UNORDERED = [{1}, OrderedDict(), "ab", bytearray(2), memoryview(b"ab"), range(10**12), iter([1])]


@pytest.mark.parametrize("value", [*ANYTHING, *UNORDERED], ids=kind)
def test_what_has_no_order(value):
    with pytest.raises(SettingError, match=f"x=.*: {ALLOWED}"):
        in_order("x", value, ALLOWED)
