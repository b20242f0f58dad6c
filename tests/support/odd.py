"""Odd values for property tests of what users pass in, and the one way in which they may fail."""

from __future__ import annotations

from collections import OrderedDict, deque
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from fractions import Fraction
from itertools import count
from types import MappingProxyType

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from lightning_dice.rules import SavingThrow, SettingError

LONGEST_MESSAGE = 4000


class Rude:
    """Fails at whatever it is asked."""

    def __fail(self, *_, **__):
        raise RuntimeError("rude")

    __index__ = __int__ = __float__ = __len__ = __iter__ = __bool__ = __repr__ = __str__ = __fail
    __eq__ = __lt__ = __contains__ = __getitem__ = __call__ = __fspath__ = __fail
    __hash__ = None
    dtype = shape = property(__fail)


class RudeText(str):
    def __repr__(self):
        raise RuntimeError("rude")

    __str__ = lower = strip = __repr__
    __eq__ = __hash__ = None


class RudeNumber(int):
    def __repr__(self):
        raise RuntimeError("rude")

    __str__ = __repr__


class RudeList(list):
    def __repr__(self):
        raise RuntimeError("rude")

    __iter__ = __len__ = __getitem__ = __eq__ = __repr__


class RudeDict(dict):
    def __repr__(self):
        raise RuntimeError("rude")

    __iter__ = __len__ = __getitem__ = keys = items = __repr__


class Colour(Enum):
    RED = "gradient"


class Word(StrEnum):
    MODEL = "model"


class Seven(IntEnum):
    SEVEN = 7


def _recursive_list():
    own: list = [1]
    own.append(own)
    return own


def _recursive_dict():
    own: dict = {}
    own["die"] = own
    return own


def _deep():
    own: list = []
    for _ in range(3000):
        own = [own]
    return own


def _doubling():
    own: list = ["x"]
    for _ in range(60):
        own = [own, own]
    return own


_MADE = [  # anew each time, as a generator can be read once and a list be changed
    lambda: iter([1, 2]),
    lambda: (n for n in range(3)),
    count,
    _recursive_list,
    _recursive_dict,
    _deep,
    _doubling,
    Rude,
    lambda: RudeText("d20"),
    lambda: RudeNumber(10),
    lambda: RudeList([1, 2]),
    lambda: RudeDict(die="d6"),
    lambda: torch.tensor(10),
    lambda: torch.tensor(0.5),
    lambda: torch.ones(3),
    lambda: torch.ones(2, 2),
    lambda: torch.tensor(True),
    lambda: torch.ones(1, device="meta"),
    lambda: torch.nn.Parameter(torch.ones(2)),
    lambda: torch.nn.Linear(1, 1),
    lambda: np.int64(10),
    lambda: np.float32(0.5),
    lambda: np.bool_(True),
    lambda: np.str_("d20"),
    lambda: np.ones(20),
    lambda: np.array(5),
    lambda: np.array(["a", "b"]),
    lambda: np.array([None, Rude()], dtype=object),
    lambda: OmegaConf.create([1, 2]),
    lambda: OmegaConf.create(["???", "a"]),
    lambda: OmegaConf.create({"die": "???"}),
    lambda: OmegaConf.create({"die": "${nowhere}"}),
    lambda: OmegaConf.create({"die": "d6", "threshold": 3}),
    lambda: MappingProxyType({"die": "d6"}),
    lambda: OrderedDict(threshold=3),
    lambda: deque([1, 2]),
    lambda: {1, 2},
    lambda: {"a": 1}.keys(),
    lambda: range(10**12),
    lambda: "x" * 10**6,
    lambda: ["x"] * 10**6,
    lambda: b"bytes",
    lambda: bytearray(20),
    lambda: memoryview(b"abcd"),
    lambda: "a\x00b",
    lambda: "a\udc80b",
    lambda: "\ud800",
    lambda: 10**5000,
    lambda: -(10**5000),
    lambda: Fraction(1, 3),
    lambda: Decimal("0.5"),
    lambda: Colour.RED,
    lambda: Word.MODEL,
    lambda: Seven.SEVEN,
    lambda: lambda: 1,
    lambda: int,
    lambda: Ellipsis,
    lambda: NotImplemented,
    lambda: object(),
    lambda: SavingThrow("d6", 3),
    lambda: SavingThrow("d6", 3).die,
    lambda: SavingThrow("d6", 3).odds(),
    lambda: SavingThrow("d6", 3).resolve(2),
    lambda: 1e155,
    lambda: 1e-320,
    lambda: -0.0,
    lambda: float("nan"),
    lambda: float("inf"),
    lambda: 1j,
]

_PLAIN = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=12)
    | st.binary(max_size=6)
    | st.characters(categories=["Cs"])
)
_ODD = st.sampled_from(_MADE).map(lambda make: make())
_KEYS = st.sampled_from(["die", "threshold", "scaling", "normalize", "x", ""]) | st.integers()

VALUES = st.recursive(
    _PLAIN | _ODD,
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(_KEYS, inner, max_size=3)
    ),
    max_leaves=6,
)
"""Anything."""


def near(*usable):
    """Odd values, and as often those that can be used, so that what is behind them is reached."""
    return st.sampled_from(usable) | VALUES


def refused(call, *args, **kwargs):
    """Return what a call gives, or ``None`` if it is refused as it should be: by one short line."""
    try:
        return call(*args, **kwargs)
    except SettingError as error:
        check_message(error)
    return None


def check_message(error):
    text = str(error)
    assert len(text) < LONGEST_MESSAGE, f"{len(text)} characters"
    assert text.isprintable()
    assert error.setting
    assert error.remedy


def each_alone(call, usable, odd=_MADE):
    """Call with every odd value for one argument, the others being usable."""
    for name in usable:
        for make in odd:
            refused(call, **{**usable, name: make()})


def fuzzed(few=40, many=5000, **strategies):
    """Make of a property a test of few examples, and one of many that is long by itself."""

    def decorate(check):
        def test(examples):
            tried = settings(
                max_examples=examples,
                derandomize=True,
                database=None,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            )(given(**strategies)(check))
            tried()

        test.__name__, test.__doc__ = check.__name__, check.__doc__
        sizes = [few, pytest.param(many, marks=[pytest.mark.long, pytest.mark.timeout(3600)])]
        return pytest.mark.parametrize("examples", sizes)(test)

    return decorate
