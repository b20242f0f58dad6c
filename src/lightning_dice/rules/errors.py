"""The one error that every refused setting raises, and how values are shown in messages."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from itertools import islice
from typing import Any, TypeVar

LONGEST = 500
"""Characters that a value may take in a message; a longer one is cut in the middle."""
LONGEST_REMEDY = 3000
"""Characters of a remedy, which may hold a command or what a file holds."""
_ITEMS, _DEPTH = 100, 4
"""Items of a list that a message shows, and how deep lists within lists are followed."""

Given = TypeVar("Given")
Answer = TypeVar("Answer")


class SettingError(ValueError):
    """A setting that cannot be used: names the setting, the value and what is allowed.

    Args:
        setting: The setting's name, as a user writes it.
        value: The value that was given. The message shows at most ``LONGEST`` characters of it.
        remedy: What is wrong with the value and what to give instead.

    Example:
        >>> print(SettingError("threshold", "abc", "expected a whole number from 1 to 20"))
        threshold='abc': expected a whole number from 1 to 20
    """

    def __init__(self, setting: str, value: object, remedy: str) -> None:
        super().__init__(f"{_cut(setting)}={shown(value)}: {_cut(remedy, LONGEST_REMEDY)}")
        self.setting = setting
        self.value = value
        self.remedy = remedy

    def __reduce__(self) -> tuple[Any, ...]:
        # Exceptions are rebuilt from their message alone unless told otherwise, and this one must
        # survive the trip back from a worker process, whatever value it is about.
        plain = self.value if type(self.value) in _PLAIN else shown(self.value)
        return _rebuilt, (type(self), str(self), self.setting, plain, self.remedy)


_PLAIN = (str, int, float, bool, type(None))


def _rebuilt(
    kind: type[SettingError], message: str, setting: str, value: object, remedy: str
) -> SettingError:
    """Return an error that was pickled; a value that is not plain has become its text."""
    error = kind.__new__(kind, message)
    error.setting, error.value, error.remedy = setting, value, remedy
    return error


def tried(function: Callable[[Given], Answer], value: Given) -> Answer | None:
    """Return ``function(value)``, or ``None`` where the value's own methods fail.

    Example:
        >>> tried(len, [1, 2]), tried(len, 5)
        (2, None)
    """
    try:
        return function(value)
    except Exception:
        # Methods of values that a user passes in can raise anything: a tensor of several elements
        # has no truth value, and an integer of 5,000 digits has no text.
        return None


def shown(value: object) -> str:
    """Return a value as messages show it: like ``repr``, but short, and never an error.

    Example:
        >>> shown("d20"), shown([1, [2]]), len(shown("d20" * 1000))
        ("'d20'", '[1, [2]]', 500)
        >>> shown(10**5000)
        '<int that is too large to show>'
    """
    text = tried(_text, value)
    return (
        _cut(text) if text is not None else f"<{_cut(type(value).__name__)} that is {_why(value)}>"
    )


def _why(value: object) -> str:
    return "too large to show" if isinstance(value, int) else "impossible to show"


def _text(value: object) -> str:
    return repr(_pruned(value, _DEPTH))


def _cut(text: str, longest: int = LONGEST) -> str:
    if not text.isprintable():  # a tensor has lines, and what a file holds may steer a terminal
        words = " ".join(text.split())
        text = "".join(one if one.isprintable() else _escaped(one) for one in words)
    if len(text) <= longest:
        return text
    kept = longest - len(" ... ")
    return f"{text[: kept - kept // 3]} ... {text[-(kept // 3) :]}"


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()


_HOLDERS = (list, tuple, dict, set, frozenset, deque)


class _Rest:
    """Stands for the items that a message does not show."""

    def __repr__(self) -> str:
        return "..."


def _pruned(value: object, depth: int) -> object:
    """Return a value with no more inside it than a message shows, before ``repr`` spells it out.

    The text of a list that holds a list twice, which holds another twice, doubles with each level.
    """
    if type(value) is str and len(value) > LONGEST:
        return _cut(value)
    if not isinstance(value, _HOLDERS):
        return value
    if depth == 0:
        return _Rest()
    mapping = isinstance(value, dict)
    given = list(islice(value.items() if isinstance(value, dict) else iter(value), _ITEMS + 1))
    held = [part for pair in given for part in pair] if mapping else given
    if type(value) not in (list, tuple, dict) and not any(isinstance(o, _HOLDERS) for o in held):
        return value  # which knows best how to show itself
    rest = [_Rest()] * (len(given) > _ITEMS)
    if mapping:
        pairs = {_pruned(key, depth - 1): _pruned(one, depth - 1) for key, one in given[:_ITEMS]}
        return pairs | {one: one for one in rest}
    items = [_pruned(item, depth - 1) for item in given[:_ITEMS]] + rest
    return items if isinstance(value, list) else tuple(items)
