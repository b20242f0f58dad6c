"""Put code around one method of one object, and take it away again."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from contextlib import suppress
from types import MethodType
from typing import Any, TypeVar

import torch

T = TypeVar("T")

untraced: Callable[[T], T] = torch.compiler.disable
"""For what is called in a compiled optimizer's step, which traces its hooks and its closure."""

Layer = Callable[..., Any]
"""Called as ``layer(inner, *args, **kwargs)``, where ``inner`` is what was there before."""


def intercept(target: object, method: str, layer: Layer) -> Callable[[], None]:
    """Make ``target.method(...)`` run ``layer`` around what the method was.

    No hook comes between the last clipping and the optimizer's use of the gradients, and none can
    leave a backward pass out; both places are within a method of the user's own object, so that is
    where a layer goes. Layers nest, and may be removed in any order: one that is removed under
    another is passed through, and cleared away with it.

    Args:
        target: Any object that takes attributes.
        method: Name of a method that it has.
        layer: What to run instead; it is given the method as it was.

    Returns:
        A function that removes the layer; calling it twice does no harm.

    Example:
        >>> class Door:
        ...     def knock(self): return "knock"
        >>> door = Door()
        >>> remove = intercept(door, "knock", lambda inner: inner() * 2)
        >>> door.knock()
        'knockknock'
        >>> remove(); door.knock()
        'knock'
    """
    below = vars(target).get(method)  # another layer, or the object's own attribute
    inner = getattr(target, method)
    active = True

    # `wraps` leaves the original under `__wrapped__`, where Lightning looks for overridden hooks.
    @functools.wraps(inner)
    def outer(_: object, *args: Any, **kwargs: Any) -> Any:
        return layer(inner, *args, **kwargs) if active else inner(*args, **kwargs)

    def remove() -> None:
        nonlocal active
        active = False
        _clear(target, method)

    def peel() -> bool:
        if active:
            return False
        if below is None:
            delattr(target, method)
        else:
            setattr(target, method, below)
        return True

    # Whoever asks for a method's signature is told it without the first argument.
    with suppress(ValueError, TypeError):  # what is not written in Python may not tell
        outer.__signature__ = _as_method(inspect.signature(inner))  # type: ignore[attr-defined]
    # With itself, as whoever wraps it copies its attributes, and is no layer of ours.
    outer.peel = outer, peel  # type: ignore[attr-defined]
    # A bound method, as there was before: torch's schedulers take an optimizer's step apart.
    setattr(target, method, MethodType(outer, target))
    return remove


def _as_method(bound: inspect.Signature) -> inspect.Signature:
    first = inspect.Parameter("_", inspect.Parameter.POSITIONAL_ONLY)
    return bound.replace(parameters=[first, *bound.parameters.values()])


def _clear(target: object, method: str) -> None:
    """Take removed layers off the top until an active one, or none, is left."""
    while True:
        top = getattr(vars(target).get(method), "__func__", None)
        layer, peel = getattr(top, "peel", (None, bool))
        if top is None or layer is not top or not peel():
            return
