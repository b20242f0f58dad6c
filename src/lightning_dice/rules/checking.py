"""Checks of values at the boundary, which every entry point shares.

A value is taken for what it is by its protocol, never by its type alone, so that numpy's whole
numbers and the lists of configurations are as good as Python's own. What comes back is always
Python's own, and safe to keep in a checkpoint.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from numbers import Real
from operator import index
from typing import Any

from lightning_dice.rules.errors import SettingError, tried

MOST_ITEMS = 10_000
"""Items that a list may have: a factor for every face of the largest die."""
LARGEST = 1e150
"""Largest number that a setting may be, as the square of a larger one is not always a float."""

_NO_LISTS = (str, bytes, bytearray, memoryview, Mapping)


def whole_number(
    setting: str,
    value: Any,
    allowed: str,
    least: int | None = None,
    most: int | None = None,
) -> int:
    """Return ``value`` as an ``int`` if it is a whole number of whatever type.

    ``True`` is not a whole number, and neither is 10.0.

    Args:
        setting: The setting's name.
        value: The value.
        allowed: What is allowed: the remedy of the error.
        least: The smallest number that is allowed.
        most: The largest.

    Raises:
        SettingError: If it is not, or is outside these limits.

    Example:
        >>> import numpy as np
        >>> whole_number("threshold", np.int64(10), "expected a whole number")
        10
    """
    number = value if type(value) is int else None
    if number is None and tried(_is_truth, value) is False:
        number = tried(index, value)
    too_small = number is None or (least is not None and number < least)
    if number is None or too_small or (most is not None and number > most):
        raise SettingError(setting, value, allowed)
    return number


def _is_truth(value: object) -> bool:
    return isinstance(value, bool) or "bool" in str(getattr(value, "dtype", ""))


def finite_number(setting: str, value: Any, allowed: str, largest: float = LARGEST) -> float:
    """Return ``value`` as a ``float`` if it is a finite real number.

    Args:
        setting: The setting's name.
        value: The value.
        allowed: What is allowed: the remedy of the error.
        largest: How large it may be, above or below 0.

    Raises:
        SettingError: If it is not a number, not finite, or too large.

    Example:
        >>> from fractions import Fraction
        >>> finite_number("scaling[1]", Fraction(1, 4), "expected a finite number")
        0.25
    """
    real = isinstance(value, Real) and not isinstance(value, bool)
    number = tried(float, value) if real else None
    if number is None or not math.isfinite(number):
        raise SettingError(setting, value, allowed)
    if abs(number) > largest:
        size = f"too large for E[s^2]; expected at most {largest:g}, above or below 0"
        raise SettingError(setting, value, size)
    return number


def as_text(value: object) -> str | None:
    """Return ``value`` as a ``str`` if it is text of whatever type, else ``None``.

    Example:
        >>> import numpy as np
        >>> as_text(np.str_("d20")), as_text(20)
        ('d20', None)
    """
    return str.__str__(value) if isinstance(value, str) else None


def one_of(setting: str, value: object, words: Collection[str], allowed: str) -> str:
    """Return ``value`` as a ``str`` if it is one of some words.

    Args:
        setting: The setting's name.
        value: The value.
        words: The words.
        allowed: What is allowed: the remedy of the error.

    Raises:
        SettingError: If it is not.

    Example:
        >>> one_of("normalize", "rms", ["none", "mean", "rms"], "expected none, mean, rms")
        'rms'
    """
    word = as_text(value)
    if word is None or word not in words:
        raise SettingError(setting, value, allowed)
    return word


def flag(setting: str, value: object) -> bool:
    """Return ``value`` if it is ``True`` or ``False``.

    Text such as ``"false"`` would count as true wherever it is asked.

    Raises:
        SettingError: If it is neither.

    Example:
        >>> flag("skip_discarded", "false")
        Traceback (most recent call last):
        lightning_dice.rules.errors.SettingError: skip_discarded='false': expected True or False
    """
    if value is True or value is False:
        return value
    raise SettingError(setting, value, "expected True or False")


def listed_names(setting: str, value: object, allowed: str) -> list[str]:
    """Return ``value`` as a list of text if it is a list, a tuple or a set of it.

    A generator is refused: it can be read once only, and may never end.

    Args:
        setting: The setting's name.
        value: The value.
        allowed: What is allowed: the remedy of the error.

    Raises:
        SettingError: If it is not, or has more than ``MOST_ITEMS``.

    Example:
        >>> listed_names("include", ("*.weight",), "expected a list of patterns")
        ['*.weight']
    """
    items = _items(value, Collection)
    texts = [as_text(item) for item in items or []]
    if items is None or not all(text is not None for text in texts):
        raise SettingError(setting, value, allowed)
    return [text for text in texts if text is not None]


def in_order(setting: str, value: object, allowed: str) -> list[object]:
    """Return ``value`` as a list if it is a list, a tuple or another sequence.

    Args:
        setting: The setting's name.
        value: The value.
        allowed: What is allowed: the remedy of the error.

    Raises:
        SettingError: If it is not, or has more than ``MOST_ITEMS``.

    Example:
        >>> in_order("scaling", (1, None), "expected a list")
        [1, None]
    """
    items = _items(value, Sequence)
    if items is None:
        raise SettingError(setting, value, allowed)
    return items


def _items(value: Any, kind: Any) -> list[Any] | None:
    if not isinstance(value, kind) or isinstance(value, _NO_LISTS):
        return None
    size = tried(len, value)
    return None if size is None or size > MOST_ITEMS else tried(list, value)
