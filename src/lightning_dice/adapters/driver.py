"""The layers around the steps of a loop's optimizers, which make the rolls."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from torch.optim import Optimizer

from lightning_dice.adapters.clock import Clock
from lightning_dice.adapters.wrappers import refresh
from lightning_dice.intercept import intercept, untraced
from lightning_dice.rolling import Rolling
from lightning_dice.stages import stages_of


class Driver:
    """Has every step of some optimizers rolled for, and counts them.

    Args:
        given: The optimizers as the loop has them, in a wrapper or not.
        optimizers: Those inside, which make the steps.
        scaler: The gradient scaler by which they are stepped, or ``None``.
        rolling: What rolls.
        clock: How far training is.
        opens: What is called before every roll.
    """

    def __init__(
        self,
        given: Sequence[Any],
        optimizers: Sequence[Optimizer],
        scaler: Any,
        rolling: Rolling,
        clock: Clock,
        opens: Callable[[], None],
    ) -> None:
        self.rolling = rolling
        self.clock = clock
        self._given = given
        self._optimizers = optimizers
        self._scaler = scaler
        self._opens = opens
        self._undo: list[Callable[[], None]] = []

    def attach(self) -> None:
        """Have steps rolled for from here on."""
        pairs = zip(self._optimizers, self._given, strict=True)
        for index, (optimizer, wrapper) in enumerate(pairs):
            self._put(optimizer, "step", partial(self._around_step, index))
            if stages := stages_of(optimizer):
                self._put(optimizer, stages.first, partial(self._around_first, index))
                self._put(optimizer, stages.last, partial(self._around_last, index))
            if wrapper is not optimizer and (stages := stages_of(wrapper)):
                for stage in (
                    stages.first,
                    *stages.between,
                    stages.last,
                ):  # a wrapper that derives from its optimizer's class
                    self._put(wrapper, stage, partial(_passed_on, optimizer, stage))
        if self._scaler is not None:
            self._put(self._scaler, "step", self._around_scaler)
        for wrapper in self._given:
            refresh(wrapper)

    def remove(self) -> None:
        """Leave the optimizers as they were; a second time does no harm."""
        while self._undo:
            self._undo.pop()()

    def _put(self, target: object, method: str, layer: Callable[..., Any]) -> None:
        self._undo.append(intercept(target, method, layer))

    def _around_step(self, index: int, inner: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if self.clock.stepping is not None and not self.clock.halfway:
            return inner(*args, **kwargs)  # in a scaler's step, a class's super().step(), a stage
        self._before(index, closure=any(map(callable, (*args, *kwargs.values()))))
        return self._make(inner, *args, **kwargs)

    def _around_first(
        self, index: int, inner: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> Any:
        """Begin a step in stages, which is begun again if the last one was not ended."""
        clock = self.clock
        if clock.stepping is not None and not clock.halfway:
            return inner(*args, **kwargs)
        self._before(index, halfway=True)
        try:
            return inner(*args, **kwargs)
        except BaseException:
            self._after(made=False)
            raise

    def _around_last(self, index: int, inner: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        clock = self.clock
        if clock.stepping is None:
            self._before(index)
        elif not clock.halfway:
            return inner(*args, **kwargs)
        clock.halfway = False
        return self._make(inner, *args, **kwargs)

    def _around_scaler(
        self, inner: Callable[..., Any], optimizer: Any, *args: Any, **kwargs: Any
    ) -> Any:
        for index, own in enumerate(self._optimizers):
            if own is optimizer:
                return self._around_step(index, partial(inner, optimizer), *args, **kwargs)
        return inner(optimizer, *args, **kwargs)

    def _make(self, inner: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        made = False
        try:
            result = inner(*args, **kwargs)
            made = True
        finally:
            self._after(made)
        return result

    @untraced
    def _before(self, index: int, *, closure: bool = False, halfway: bool = False) -> None:
        clock = self.clock
        self._opens()
        clock.begin(index, halfway=halfway)
        batch = clock.batch if closure and clock.batch is not None else clock.at_hand
        self.rolling.before_step(index, step=clock.step, batch=batch)

    @untraced
    def _after(self, made: bool) -> None:
        self.rolling.forget()  # what a scaler left out
        self.clock.end(made)  # a step that raised may be tried again, and has the same roll then


def _passed_on(
    optimizer: Optimizer, stage: str, _: Callable[..., Any], *args: Any, **kwargs: Any
) -> Any:
    return getattr(optimizer, stage)(*args, **kwargs)
