"""An optimizer whose next step is scaled by what was rolled for it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any, Literal, Protocol
from weakref import ReferenceType, WeakKeyDictionary, ref

import torch
from torch.optim import Optimizer

from lightning_dice.closures import closure_of, evaluated, followed, with_closure
from lightning_dice.gradients import Parts, scale_gradients
from lightning_dice.intercept import intercept, untraced
from lightning_dice.rules import SettingError
from lightning_dice.scaled_gradients import ScaledGradients, keeps_apart
from lightning_dice.scope import Slots
from lightning_dice.stages import clears_gradients, stages_of
from lightning_dice.step_hooks import StepHook, call_hooks
from lightning_dice.updates import ScaledDifference, ScaledLearningRates, rides_on_learning_rate

Target = Literal["gradient", "update"]

Scales = Mapping[int, float | None]
"""What was rolled, by slot; ``None`` is a discard."""

_innermost: WeakKeyDictionary[Optimizer, ReferenceType[ScaledSteps]] = WeakKeyDictionary()
"""The first that scales an optimizer's steps; those of further saving throws are around it."""

_UNROLLED = (
    "an optimizer made a step that nothing was rolled for, and it was applied in full; in a "
    "LightningModule use self.manual_backward, and step the optimizers that self.optimizers() "
    "gives; in a loop of your own that rolls for mini-batches use dice.backward(loss)"
)

_AROUND = (
    "its step was kept from before it had dice, as torch.compile(optimizer.step) does, and goes "
    "around them; attach them first, or compile a function that calls optimizer.step()"
)


class Effect(Protocol):
    """What a roll does to one step of an optimizer. It is made before anything of it happens."""

    def apply(self) -> None:
        """After every evaluation of the gradients, and all that is done to them."""

    def finish(self) -> None:
        """Right after the optimizer's computation."""

    def release(self) -> None:
        """At the end, also of a step that raised."""


class ScaledSteps:
    """Scales steps of an optimizer: the gradient that it sees, or the update that it makes.

    It works inside ``optimizer.step`` itself, once the gradients are final: after the closure, all
    hooks, unscaling and clipping, whoever does them, and only where the step is really made. Hooks
    that come after the step find the weights as the roll left them. In order: the effect of the
    roll is made; the closure is evaluated and the effect applied, or without a closure it is
    applied by the last hook before the step; the optimizer computes; the first hook after the step
    finishes the effect; it is released.

    A step whose gradients are all discarded is not made, unless it is one of torch's optimizers,
    which leave parameters without gradients alone. Then the closure alone is evaluated: an
    optimizer may count, move weights or change a learning rate before and after.

    Args:
        optimizer: The optimizer.
        target: What is scaled.
        slots: The parameters that are rolled for, by slot; read anew in every step.
        foresee: Tells what will be rolled for the step that begins, where that is known; ``next``
            still says what was.

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

    def __init__(
        self,
        optimizer: Optimizer,
        target: Target,
        slots: Callable[[], Slots],
        foresee: Callable[[], Scales | None] = lambda: None,
    ) -> None:
        self.optimizer = optimizer
        self.target = target
        self.copies = target == "update" and not rides_on_learning_rate(optimizer)
        self.slots = slots
        self._foresee = foresee
        self._may_be_skipped = target == "gradient" and not keeps_apart(optimizer)
        if self._innermost is None:
            _innermost[optimizer] = ref(self)
        self._parts: Parts | None = None  # what was rolled for the next step
        self._warned = False
        self._depth = 0  # a step that calls its base class's has hooks for both
        self._effect: Effect | None = None  # of the step that is being made
        self._staged: Effect | None = None  # of a step in stages, between two of them
        self._waits = False  # for the last hook before the step, as there is no closure
        self._hooks: list[Any] = []
        if getattr(type(optimizer).step, "hooked", False):  # torch has put its hooks into the class
            self._hooks.append(optimizer.register_step_pre_hook(StepHook(optimizer, self._before)))
            self._hooks.append(optimizer.register_step_post_hook(StepHook(optimizer, self._after)))
        self._restore = [intercept(optimizer, "step", self._step)]
        self.busy = False  # a step is being made, by whatever name
        self._left_out = False  # the step that is made in stages
        if stages := stages_of(optimizer):
            self._restore.append(intercept(optimizer, stages.first, self._first))
            self._restore.append(intercept(optimizer, stages.last, self._last))
            for stage in stages.between:
                self._restore.append(intercept(optimizer, stage, self._between))

    @property
    def note(self) -> str:
        """What is said of an optimizer whose weights are copied."""
        return (
            f"{type(self.optimizer).__name__}: its step is not known to be linear in its learning "
            "rate, so weights that are rolled for are copied in every step"
        )

    def next(self, scales: Scales | None) -> None:
        """Scale the next step by ``scales``, by slot; a slot that is not there is left alone.

        ``None`` says that nothing was rolled for it, and forgets what was rolled before.
        """
        # At once, as another saving throw may have the optimizer's groups split later.
        self._parts = self._by_parameters(scales)

    def remove(self) -> None:
        """Leave the optimizer as it was."""
        for restore in self._restore:
            restore()
        for hook in self._hooks:
            hook.remove()
        if self._innermost is self:
            del _innermost[self.optimizer]

    def _rolled(self) -> Parts:
        if self._parts is not None:
            return self._parts
        there = any(p.grad is not None for own in self.slots().values() for p in own)
        if there and not self._warned:
            warnings.warn(_UNROLLED, stacklevel=2)
            self._warned = True
        return []

    @property
    def _innermost(self) -> ScaledSteps | None:
        first = _innermost.get(self.optimizer)
        return None if first is None else first()

    def _by_parameters(self, scales: Scales | None) -> Parts | None:
        if scales is None:
            return None
        slots = self.slots() if scales else {}
        return [(slots[slot], scale) for slot, scale in scales.items() if slot in slots]

    def _known(self) -> Parts | None:
        """Return what was rolled for the step that begins, or will be, where that is known."""
        if self._parts is None and self._may_be_skipped:
            return self._by_parameters(self._foresee())
        return self._parts

    def _begin(self, known: Parts | None) -> Effect:
        if self.target == "gradient":
            return ScaledGradients(self.optimizer, self._rolled, known)
        if self.copies:
            parameters = [p for slot in self.slots().values() for p in slot]
            return ScaledDifference(parameters, self._rolled)
        return ScaledLearningRates(self.optimizer, self._rolled)

    def _step(self, inner: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if self.busy:  # within the last of several stages
            return inner(*args, **kwargs)
        self.busy = True
        try:
            known = self._known()
            # A further saving throw inside has to see every step.
            if self._discards_all(known) and self._innermost is self:
                closure = closure_of(args, kwargs)
                result = None if closure is None else _with_gradients(closure)
                if self._discards_all(self._parts):
                    self._skip(args, kwargs)
                    return result
                if closure is not None:  # something else was rolled than was to be expected
                    known, again = self._parts, evaluated(closure, result)
                    args, kwargs = with_closure(args, kwargs, closure, again)
            return self._make(inner, known, args, kwargs)
        finally:
            self.busy, self._effect, self._parts = False, None, None

    def _make(
        self,
        inner: Callable[..., Any],
        known: Parts | None,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        effect = self._effect = self._begin(known)
        closure = closure_of(args, kwargs)
        if closure is not None:
            args, kwargs = with_closure(args, kwargs, closure, followed(closure, effect.apply))
        self._waits, self._depth = closure is None, 0
        try:
            if self._hooks:
                self._be_nearest()
            else:
                self._before()
            result = inner(*args, **kwargs)
            if self._effect is not None:  # no hook did
                effect.finish()
            return result
        finally:
            effect.release()

    def _skip(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Do what goes with a step, around none.

        Somebody may count on a hook for every step, and torch's schedulers warn of a first step
        that was not made.
        """
        optimizer: Any = self.optimizer
        optimizer._opt_called = True
        call_hooks(getattr(optimizer, "_optimizer_step_pre_hooks", {}), optimizer, args, kwargs)
        scale_gradients(self._rolled())
        call_hooks(getattr(optimizer, "_optimizer_step_post_hooks", {}), optimizer, args, kwargs)

    def _first(self, inner: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Make the first of several stages, which moves the weights to where they do not stay.

        The effect of the roll is made before, as it is of the whole way from here. Where nothing
        is to be left of the step, no stage of it is made.
        """
        if self.busy:  # within a step that goes through all stages
            return inner(*args, **kwargs)
        self._left_out = self._discards_all(self._parts)
        if self._left_out:
            if clears_gradients(args, kwargs):
                self.optimizer.zero_grad()
            return None
        self._staged = self._begin(self._parts)
        self.busy = True
        try:
            return inner(*args, **kwargs)
        finally:
            self.busy = False

    def _between(self, inner: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return None if self._left_out else inner(*args, **kwargs)

    def _last(self, inner: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Make the last of several stages, from gradients that are final now."""
        if self.busy:
            return inner(*args, **kwargs)
        effect, self._staged = self._staged or self._begin(self._parts), None
        self.busy = True
        try:
            if self._left_out:
                scale_gradients(self._rolled())
                return None
            effect.apply()
            result = inner(*args, **kwargs)
            effect.finish()
            return result
        finally:
            effect.release()
            self.busy, self._left_out, self._parts = False, False, None

    def _discards_all(self, parts: Parts | None) -> bool:
        """Return whether no gradient is to reach an optimizer that might step without any."""
        if not self._may_be_skipped or not parts or all(scale is not None for _, scale in parts):
            return False
        kept = {p for group in self.optimizer.param_groups for p in group["params"]}
        for parameters, scale in parts:
            if scale is None:
                kept.difference_update(parameters)
        return not any(p.requires_grad for p in kept)

    def _be_nearest(self) -> None:
        """Be the last hook before the step, as others clip there, and the first after it."""
        optimizer: Any = self.optimizer  # torch's dictionaries of hooks are ordered
        before, after = self._hooks
        optimizer._optimizer_step_pre_hooks.move_to_end(before.id)
        optimizer._optimizer_step_post_hooks.move_to_end(after.id, last=False)

    @untraced
    def _before(self) -> None:
        if self._effect is None and self._depth == 0 and not self.busy:
            kind = type(self.optimizer).__name__
            raise SettingError("optimizer", kind, _AROUND)
        self._depth += 1
        if self._effect is not None and self._waits:
            self._waits = False
            self._effect.apply()

    @untraced
    def _after(self) -> None:
        self._depth -= 1
        if self._effect is not None and self._depth == 0:
            self._effect.finish()
            self._effect = None


def _with_gradients(closure: Callable[[], Any]) -> Any:
    """Evaluate a closure as optimizers do, whoever steps them without gradients."""
    with torch.enable_grad():
        return closure()
