"""Hooks of an optimizer's step: those of dice, and everybody else's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch.optim import Optimizer

from lightning_dice.intercept import untraced


class StepHook:
    """A hook of one optimizer, which does nothing in a copy of it.

    The optimizers of torch leave hooks out of their copies. Others may copy all that they have.
    """

    def __init__(self, optimizer: Optimizer | None, call: Callable[[], None] | None) -> None:
        self._optimizer = optimizer
        self._call = call

    @untraced
    def __call__(self, optimizer: Optimizer, *_: Any) -> None:
        """Call what the hook is for."""
        if self._call is not None and optimizer is self._optimizer:
            self._call()

    def __reduce__(self) -> tuple[Any, ...]:
        return StepHook, (None, None)


def call_hooks(
    hooks: Mapping[int, Callable[..., Any]],
    optimizer: Optimizer,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> None:
    """Call the hooks of a step that is not made, but for those that scale it."""
    for hook in tuple(hooks.values()):
        if not isinstance(hook, StepHook):
            hook(optimizer, args, kwargs)
