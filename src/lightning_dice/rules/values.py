"""Immutable values that other libraries may copy, field by field or as a whole."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import FrozenInstanceError, fields
from typing import Any, TypeVar

T = TypeVar("T")
K = TypeVar("K")
V = TypeVar("V")


class FrozenMapping(Mapping[K, V]):
    """Mapping that cannot be changed but, unlike ``MappingProxyType``, copied and pickled.

    Args:
        items: Its items, in their order.

    Example:
        >>> chances = FrozenMapping({"success": 0.5})
        >>> chances["success"], chances == {"success": 0.5}
        (0.5, True)
    """

    __slots__ = ("_items",)

    def __init__(self, items: Mapping[K, V]) -> None:
        self._items = dict(items)

    def __getitem__(self, key: K) -> V:
        return self._items[key]

    def __iter__(self) -> Iterator[K]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._items!r})"


def copied_by_field(kind: type[T]) -> type[T]:
    """Let a frozen dataclass accept, for each of its fields, the value that the field has.

    Lightning copies the dataclasses among a module's hyper-parameters, and then sets every field of
    the copy; it refuses dataclasses that forbid this. Setting a field to its own value changes
    nothing, so the value stays immutable.

    Args:
        kind: A frozen dataclass; it is changed in place and returned.

    Example:
        >>> from dataclasses import dataclass
        >>> @copied_by_field
        ... @dataclass(frozen=True)
        ... class Point:
        ...     x: int
        >>> point = Point(3)
        >>> point.x = 3
        >>> point.x = 4
        Traceback (most recent call last):
        dataclasses.FrozenInstanceError: cannot assign to field 'x'
    """
    names = {field.name for field in fields(kind)}  # type: ignore[arg-type]

    def set_field(self: T, name: str, value: Any) -> None:
        here = getattr(self, name, None)
        if name not in names or type(value) is not type(here) or value != here:
            raise FrozenInstanceError(f"cannot assign to field {name!r}")

    kind.__setattr__ = set_field  # type: ignore[assignment, method-assign]
    return kind
