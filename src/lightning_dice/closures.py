"""The closure by which an optimizer's step evaluates gradients, among the step's arguments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Closure = Callable[[], Any]


def closure_of(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Closure | None:
    """Return the closure that a step is given; ``None`` if it has none.

    Most optimizers take it first and call it ``closure``; it is the first that can be called.

    Example:
        >>> closure_of((), {"grad_scaler": None, "closure": list})
        <class 'list'>
    """
    given = (*args, *kwargs.values())
    return next((one for one in given if callable(one)), None)


def with_closure(
    args: tuple[Any, ...], kwargs: dict[str, Any], old: Closure, new: Closure
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the arguments with ``new`` in the place of ``old``.

    Example:
        >>> with_closure((list, 2), {}, list, dict)
        ((<class 'dict'>, 2), {})
    """
    return (
        tuple(new if one is old else one for one in args),
        {name: new if one is old else one for name, one in kwargs.items()},
    )


def followed(closure: Closure, then: Callable[[], None]) -> Closure:
    """Return a closure that calls ``then`` after each evaluation."""

    def evaluate() -> Any:
        result = closure()
        then()
        return result

    return evaluate


def evaluated(closure: Closure, result: Any) -> Closure:
    """Return a closure whose first evaluation has been made, and came to ``result``."""
    results = [result]

    def evaluate() -> Any:
        return results.pop() if results else closure()

    return evaluate
