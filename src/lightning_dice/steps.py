"""An optimizer whose next step is scaled by what was rolled for it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Literal

from torch.optim import Optimizer

from lightning_dice.gradients import Parts, scaled_gradients
from lightning_dice.intercept import intercept
from lightning_dice.scope import Slots
from lightning_dice.updates import (
    rides_on_learning_rate,
    scaled_difference,
    scaled_learning_rates,
)

Target = Literal["gradient", "update"]

_UNROLLED = (
    "an optimizer made a step that nothing was rolled for, and it was applied in full; step it "
    "where steps are counted (in a LightningModule: the optimizers that self.optimizers() gives)"
)

Effect = AbstractContextManager[Callable[[], None]]
"""What a roll does around one step; entering it gives what to call at its very last moment."""


class ScaledSteps:
    """Scales steps of an optimizer: the gradient that it sees, or the update that it makes.

    It works inside ``optimizer.step`` itself, once the gradients are final: after the closure, all
    hooks, unscaling and clipping, whoever does them, and only where the step is really made.

    Args:
        optimizer: The optimizer.
        target: What is scaled.
        slots: The parameters that are rolled for, by slot; read anew in every step.

    Example:
        >>> import torch
        >>> weight = torch.nn.Parameter(torch.ones(1))
        >>> optimizer = torch.optim.Adam([weight], lr=0.5)
        >>> steps = ScaledSteps(optimizer, "update", lambda: {0: [weight]})
        >>> weight.grad = torch.full((1,), 8.0)
        >>> steps.next({0: 0.25})
        >>> optimizer.step()  # Adam's first step is of size lr
        >>> weight.data, optimizer.param_groups[0]["lr"]
        (tensor([0.8750]), 0.5)
        >>> steps.remove()
    """

    def __init__(self, optimizer: Optimizer, target: Target, slots: Callable[[], Slots]) -> None:
        self.optimizer = optimizer
        self.target = target
        self.copies = target == "update" and not rides_on_learning_rate(optimizer)
        self.slots = slots
        self._scales: Mapping[int, float | None] | None = None
        self._warned = False
        self.remove = intercept(optimizer, "step", self._step)

    def next(self, scales: Mapping[int, float | None]) -> None:
        """Scale the next step by ``scales``, by slot; a slot that is not there is left alone."""
        self._scales = scales

    def _rolled(self) -> Parts:
        if self._scales is None:
            if not self._warned:
                warnings.warn(_UNROLLED, stacklevel=2)
                self._warned = True
            return []
        slots = self.slots()
        return [(slots[slot], scale) for slot, scale in self._scales.items() if slot in slots]

    def _effect(self) -> Effect:
        if self.target == "gradient":
            return scaled_gradients(self._rolled)
        if self.copies:
            parameters = [p for slot in self.slots().values() for p in slot]
            return scaled_difference(parameters, self._rolled)
        return scaled_learning_rates(self.optimizer, self._rolled)

    def _step(self, inner: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        try:
            with self._effect() as apply:
                args, kwargs, found = _after_closure(apply, args, kwargs)
                if found:
                    return inner(*args, **kwargs)
                return _step_without_closure(self.optimizer, inner, apply, args, kwargs)
        finally:
            self._scales = None


def _after_closure(
    apply: Callable[[], None], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any], bool]:
    """The arguments with ``apply`` called after each call of the closure, if they have one."""

    def followed(closure: Callable[[], Any]) -> Callable[[], Any]:
        def evaluate() -> Any:
            result = closure()
            apply()
            return result

        return evaluate

    if args and args[0] is not None:
        return (followed(args[0]), *args[1:]), kwargs, True
    if kwargs.get("closure") is not None:
        return args, {**kwargs, "closure": followed(kwargs["closure"])}, True
    return args, kwargs, False


def _step_without_closure(
    optimizer: Optimizer,
    inner: Callable[..., Any],
    apply: Callable[[], None],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
) -> Any:
    """Call ``apply`` as the optimizer's last hook before the step: somebody may clip in another."""
    if not getattr(type(optimizer).step, "hooked", False):
        apply()  # torch has not put hooks into this class
        return inner(*args, **kwargs)
    hook = optimizer.register_step_pre_hook(lambda *_: apply())
    try:
        return inner(*args, **kwargs)
    finally:
        hook.remove()
