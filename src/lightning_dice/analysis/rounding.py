"""How far logged values can be trusted: the guard against findings that are only rounding."""

from __future__ import annotations

from typing import TypeVar

from lightning_dice.analysis.readers import Floats

Size = TypeVar("Size", float, Floats)

FLOAT32 = 2.0**-24
"""The largest relative error of a number that is rounded to the 24 bits of float32's mantissa."""
ROUNDED = 8
"""How many such errors a value may hold: a mean over batches is rounded at every batch."""


def rounding_error(size: Size) -> Size:
    """Return the difference up to which two values are the same but for rounding.

    Lightning keeps a logged metric in float32, and a report reads it as float64. One image more of
    359 is then a difference of 0.0027855634 in one seed and of 0.0027855038 in another. A test
    takes that for a tiny spread and becomes certain. So no test, interval or tie looks closer than
    this. It is relative to the values: a loss of 0.0001 has a guard 10,000 times smaller than 1.

    Args:
        size: How large the values are that are compared.

    Example:
        >>> a, b = 0.9805014133453369 - 0.9777158498764038, 0.9888579249382019 - 0.9860724210739136
        >>> abs(a - b) > 0, abs(a - b) < rounding_error(0.98)
        (True, True)
    """
    return ROUNDED * FLOAT32 * abs(size)
