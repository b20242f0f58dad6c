"""Put code around one method of one object, and take it away again."""

from __future__ import annotations

import functools
import inspect
import operator
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from types import MethodType
from typing import Any, TypeVar

import torch

T = TypeVar("T")

untraced: Callable[[T], T] = torch.compiler.disable
"""For what is called in a compiled optimizer's step, which traces its hooks and its closure."""

Layer = Callable[..., Any]
"""Called as ``layer(inner, *args, **kwargs)``, where ``inner`` is what was there before."""

_KEPT = "_lightning_dice_layers"
_ABSENT = object()
_changes = threading.Lock()


def intercept(target: object, method: str, layer: Layer) -> Callable[[], None]:
    """Make ``target.method(...)`` run ``layer`` around what the method was.

    No hook comes between the last clipping and the optimizer's use of the gradients, and none can
    leave a backward pass out; both places are within a method of the user's own object, so that is
    where a layer goes. Layers nest, and may be removed in any order: one that is removed under
    another is passed through, and cleared away with it.

    A copy of the object has no layers, however it was made: its method is that of its class. So the
    object may be copied, pickled and saved while it has layers, by others and within a layer.

    Args:
        target: Any object that takes attributes.
        method: Name of a method that it has.
        layer: What to run instead; it is given the method as it was.

    Returns:
        A function that removes the layer; calling it twice does no harm.

    Example:
        >>> import copy
        >>> class Door:
        ...     def knock(self): return "knock"
        >>> door = Door()
        >>> remove = intercept(door, "knock", lambda inner: inner() * 2)
        >>> door.knock(), copy.copy(door).knock()
        ('knockknock', 'knock')
        >>> remove(); door.knock()
        'knock'
    """
    with _changes:
        return _intercept(target, method, layer)


def _intercept(target: object, method: str, layer: Layer) -> Callable[[], None]:
    inner = getattr(target, method)
    below = vars(target).get(method, _ABSENT)

    # `wraps` leaves the original under `__wrapped__`, where Lightning looks for overridden hooks.
    @functools.wraps(inner)
    def outer(_: object, *args: Any, **kwargs: Any) -> Any:
        return layer(inner, *args, **kwargs) if placed.active else inner(*args, **kwargs)

    # Whoever asks for a method's signature is told it without the first argument.
    with suppress(ValueError, TypeError):  # what is not written in Python may not tell
        outer.__signature__ = _as_method(inspect.signature(inner))  # type: ignore[attr-defined]
    layers = vars(target).get(_KEPT)
    if layers is None or layers.owner is not target:
        layers = _Layers(target)
        vars(target)[_KEPT] = layers
    method_of = _LayeredMethod.of(type(target), method)
    # A bound method, as there was before: torch's schedulers take an optimizer's step apart.
    placed = _Placed(MethodType(outer, target), below, method_of)
    layers.placed.setdefault(method, []).append(placed)
    method_of.users.add(layers)

    return _Removal(layers, method, placed)


class _Removal:
    """Removes one layer; a copy of it removes nothing, as copies have no layers."""

    def __init__(self, layers: _Layers | None, name: str, placed: _Placed | None) -> None:
        self._layers = layers
        self._name = name
        self._placed = placed

    def __call__(self) -> None:
        if self._layers is not None and self._placed is not None:
            with _changes:
                self._layers.remove(self._name, self._placed)

    def __reduce__(self) -> tuple[Any, ...]:
        return _Removal, (None, self._name, None)


@dataclass(eq=False)
class _Placed:
    """A layer in its place.

    Attributes:
        bound: The function to call, layer and all.
        below: The attribute of the object itself that the layer is around, or ``_ABSENT``.
        method: The method of the object's class that the layer is around.
        active: Whether the layer has not been removed.
    """

    bound: MethodType
    below: object
    method: _LayeredMethod
    active: bool = True


class _Layers:
    """The layers of one object, kept in its attributes, so that they live as long as it does.

    Whoever copies attributes takes this along, and it is of no use there: it knows its owner.
    Whoever pickles or deep-copies them gets ``None`` in its place.
    """

    def __init__(self, owner: object) -> None:
        self.owner = owner
        self.placed: dict[str, list[_Placed]] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        return type(None), ()

    def remove(self, name: str, placed: _Placed) -> None:
        """Take a layer away; a second time does no harm."""
        if not placed.active:
            return
        placed.active = False
        own = self.placed[name]
        own.remove(placed)
        if not own:
            del self.placed[name]
        if not any(placed.method is other.method for other in own):
            placed.method.users.discard(self)
            placed.method.leave()
        if not self.placed and vars(self.owner).get(_KEPT) is self:
            del vars(self.owner)[_KEPT]


class _LayeredMethod:
    """A class's method that some of its instances have layers around.

    What an instance is can only be told where its class is asked for the method: everything in the
    instance itself may have been copied from another. All that have no layers get the method, or
    the attribute of their own, that they would have without this.
    """

    def __init__(self, owner: type, name: str) -> None:
        self.owner = owner
        self.name = name
        self.own = vars(owner).get(name, _ABSENT)
        self.users: weakref.WeakSet[_Layers] = weakref.WeakSet()

    @classmethod
    def of(cls, kind: type, name: str) -> _LayeredMethod:
        """The one in the class that ``kind`` has the method from; it is put there if need be."""
        owner = _owner(kind, name)
        there = vars(owner).get(name)
        if isinstance(there, cls):
            return there
        made = cls(owner, name)
        setattr(owner, name, made)
        return made

    def leave(self) -> None:
        """Give the class its method back, if nobody has layers around it any more."""
        if self.users or vars(self.owner).get(self.name) is not self:
            return
        if self.own is _ABSENT:
            delattr(self.owner, self.name)
        else:
            setattr(self.owner, self.name, self.own)

    def __get__(self, instance: Any, kind: type | None = None) -> Any:
        if instance is None:
            return self._plain(None, kind)
        attributes = getattr(instance, "__dict__", {})
        own = attributes.get(self.name, _ABSENT)
        layers = attributes.get(_KEPT)
        if layers is not None and layers.owner is instance and self.name in layers.placed:
            top = layers.placed[self.name][-1]
            if top.method is self and top.below is own:
                return top.bound
        # A class that overrides the method asks for this one by `super()`, and for no attribute.
        if own is _ABSENT or _owner(type(instance), self.name) is not self.owner:
            return self._plain(instance, kind)
        return own

    def __set__(self, instance: Any, value: object) -> None:
        vars(instance)[self.name] = value

    def __delete__(self, instance: Any) -> None:
        if self.name not in vars(instance):
            raise AttributeError(self.name)
        del vars(instance)[self.name]

    def __reduce__(self) -> tuple[Any, ...]:
        """Be the class's own method where the class itself is pickled, as cloudpickle does."""
        return operator.itemgetter(0), ((self.own,),)

    def _plain(self, instance: Any, kind: type | None) -> Any:
        if self.own is _ABSENT:  # the object's own, or what its class makes up when it is asked
            raise AttributeError(self.name)
        bind = getattr(type(self.own), "__get__", None)
        return self.own if bind is None else bind(self.own, instance, kind)


def _owner(kind: type, name: str) -> type:
    """Return the class that ``kind`` has the method from."""
    return next((base for base in kind.__mro__ if name in vars(base)), kind)


def _as_method(bound: inspect.Signature) -> inspect.Signature:
    first = inspect.Parameter("_", inspect.Parameter.POSITIONAL_ONLY)
    return bound.replace(parameters=[first, *bound.parameters.values()])
