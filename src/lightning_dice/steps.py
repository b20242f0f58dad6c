"""An optimizer whose next step is scaled by what was rolled for it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any, Literal, Protocol

from torch.optim import Optimizer

from lightning_dice.gradients import Parts, scale_gradients
from lightning_dice.intercept import intercept
from lightning_dice.scope import Slots
from lightning_dice.updates import ScaledDifference, ScaledLearningRates, rides_on_learning_rate

Target = Literal["gradient", "update"]

_UNROLLED = (
    "an optimizer made a step that nothing was rolled for, and it was applied in full; in a "
    "LightningModule use self.manual_backward, and step the optimizers that self.optimizers() gives"
)


class Effect(Protocol):
    """What a roll does to one step of an optimizer. It is made before anything of it happens."""

    def apply(self) -> None:
        """After every evaluation of the gradients, and all that is done to them."""

    def finish(self) -> None:
        """Right after the optimizer's computation."""

    def release(self) -> None:
        """At the end, also of a step that raised."""


class _ScaledGradients:
    def __init__(self, rolled: Callable[[], Parts]) -> None:
        self._rolled = rolled

    def apply(self) -> None:
        scale_gradients(self._rolled())

    def finish(self) -> None:
        pass

    def release(self) -> None:
        pass


class ScaledSteps:
    """Scales steps of an optimizer: the gradient that it sees, or the update that it makes.

    It works inside ``optimizer.step`` itself, once the gradients are final: after the closure, all
    hooks, unscaling and clipping, whoever does them, and only where the step is really made. Hooks
    that come after the step find the weights as the roll left them.

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
        self._effect: Effect | None = None  # of the step that is being made
        self._waits = False  # for the last hook before the step, as there is no closure
        self._hooks: list[Any] = []
        if getattr(type(optimizer).step, "hooked", False):  # torch has put its hooks into the class
            self._hooks.append(optimizer.register_step_pre_hook(self._before))
            self._hooks.append(optimizer.register_step_post_hook(self._after))
        self._restore = intercept(optimizer, "step", self._step)

    def next(self, scales: Mapping[int, float | None] | None) -> None:
        """Scale the next step by ``scales``, by slot; a slot that is not there is left alone.

        ``None`` says that nothing was rolled for it, and forgets what was rolled before.
        """
        self._scales = scales

    def remove(self) -> None:
        """Leave the optimizer as it was."""
        self._restore()
        for hook in self._hooks:
            hook.remove()

    def _rolled(self) -> Parts:
        slots = self.slots()
        if self._scales is None:
            there = any(p.grad is not None for parameters in slots.values() for p in parameters)
            if there and not self._warned:
                warnings.warn(_UNROLLED, stacklevel=2)
                self._warned = True
            return []
        return [(slots[slot], scale) for slot, scale in self._scales.items() if slot in slots]

    def _begin(self) -> Effect:
        if self.target == "gradient":
            return _ScaledGradients(self._rolled)
        if self.copies:
            parameters = [p for slot in self.slots().values() for p in slot]
            return ScaledDifference(parameters, self._rolled)
        return ScaledLearningRates(self.optimizer, self._rolled)

    def _step(self, inner: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        effect = self._effect = self._begin()
        args, kwargs, found = _after_closure(effect.apply, args, kwargs)
        self._waits = not found
        try:
            if self._hooks:
                self._be_nearest()
            else:
                self._before()
            result = inner(*args, **kwargs)
            self._after()
            return result
        finally:
            effect.release()
            self._effect = self._scales = None

    def _be_nearest(self) -> None:
        """Be the last hook before the step, as others clip there, and the first after it."""
        optimizer: Any = self.optimizer  # torch's dictionaries of hooks are ordered
        before, after = self._hooks
        optimizer._optimizer_step_pre_hooks.move_to_end(before.id)
        optimizer._optimizer_step_post_hooks.move_to_end(after.id, last=False)

    def _before(self, *_: Any) -> None:
        if self._effect is not None and self._waits:
            self._waits = False
            self._effect.apply()

    def _after(self, *_: Any) -> None:
        if self._effect is not None:
            self._effect.finish()
            self._effect = None


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
