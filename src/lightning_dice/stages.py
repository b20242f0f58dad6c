"""Optimizers whose step is made in stages, by methods of several names, as sharpness-aware ones."""

from __future__ import annotations

from typing import Any, NamedTuple

_NAMES = ("first_step", "second_step", "third_step")


class Stages(NamedTuple):
    """The methods that begin and end a step, and those between them."""

    first: str
    last: str
    between: tuple[str, ...] = ()


def stages_of(optimizer: object) -> Stages | None:
    """Return the methods by which a step is made in stages, if it may be.

    A loop evaluates gradients, calls the first, evaluates them again, and calls the last. Most such
    optimizers have a ``step(closure)`` as well, which does all that.

    Example:
        >>> class Sharp:
        ...     def first_step(self, zero_grad=False): "Climb."
        ...     def second_step(self, zero_grad=False): "Go back, and step."
        >>> stages_of(Sharp())
        Stages(first='first_step', last='second_step', between=())
        >>> stages_of("no optimizer") is None
        True
    """
    there = [name for name in _NAMES if callable(getattr(optimizer, name, None))]
    if there[:2] != list(_NAMES[:2]):
        return None
    return Stages(there[0], there[-1], tuple(there[1:-1]))


def clears_gradients(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Return whether a stage is asked to clear gradients at its end, by ``zero_grad``."""
    return bool(kwargs.get("zero_grad", args[0] if args else False))
