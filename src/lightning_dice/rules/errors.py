"""The one error that every refused setting raises, and the commonest reason for it."""

from operator import index
from typing import SupportsIndex


class SettingError(ValueError):
    """A setting that cannot be used: names the setting, the value and what is allowed.

    Args:
        setting: The setting's name, as a user writes it.
        value: What was given.
        remedy: What is wrong with it and what to give instead.

    Example:
        >>> print(SettingError("threshold", "abc", "expected a whole number from 1 to 20"))
        threshold='abc': expected a whole number from 1 to 20
    """

    def __init__(self, setting: str, value: object, remedy: str) -> None:
        super().__init__(f"{setting}={value!r}: {remedy}")
        self.setting = setting
        self.value = value
        self.remedy = remedy

    def __reduce__(self) -> tuple[type["SettingError"], tuple[str, object, str]]:
        # Exceptions are rebuilt from their message alone unless told otherwise; this one has to
        # survive the trip back from a worker process.
        return type(self), (self.setting, self.value, self.remedy)


def whole_number(setting: str, value: object, allowed: str) -> int:
    """``value`` as an ``int``, if it is a whole number of whatever type; ``True`` is none.

    Raises:
        SettingError: With ``allowed`` as the remedy.

    Example:
        >>> import numpy as np
        >>> whole_number("threshold", np.int64(10), "expected a whole number")
        10
    """
    if isinstance(value, bool) or not isinstance(value, SupportsIndex):
        raise SettingError(setting, value, allowed)
    return index(value)
