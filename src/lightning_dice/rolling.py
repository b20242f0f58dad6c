"""The dice of one training, whoever trains: what is rolled, when, and what comes of it."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from lightning_dice.choices import Choices
from lightning_dice.dice import Dice
from lightning_dice.gradients import scaled_backward
from lightning_dice.records import RollLog
from lightning_dice.rules import Roll
from lightning_dice.scope import NameSource, SlotTable
from lightning_dice.steps import ScaledSteps
from lightning_dice.watch import Watch
from lightning_dice.windows import Windows

Place = tuple[int, int]
"""How far training is: optimizer steps completed, and mini-batches before the one at hand."""


class Rolling:
    """Rolls for the optimizer steps or the mini-batches of one training.

    It knows no Trainer. Who drives it says before each step, or around each backward pass, how far
    training is; that decides the roll, so that asking twice for one step or mini-batch is harmless.

    Args:
        choices: What was chosen; its ``check`` has passed.
        seed: 0 to 2^64 - 1, the same on all ranks.
        log: Where rolls are recorded.
        ordinal: Tells apart several saving throws in one training; the first is 0.
        replica: Which of the replicas that roll apart this process computes, and how many there
            are.

    Example:
        >>> import torch
        >>> weight = torch.nn.Parameter(torch.ones(1))
        >>> optimizer = torch.optim.SGD([weight], lr=1.0)
        >>> rolling = Rolling(Choices(), seed=0, log=RollLog())
        >>> rolling.attach([optimizer], names=dict)
        >>> weight.grad = torch.ones(1)
        >>> rolling.before_step(0, step=1, batch=1)
        >>> optimizer.step()
        >>> rolling.last_roll.scale, weight.data
        (0.95, tensor([0.0500]))
    """

    def __init__(
        self,
        choices: Choices,
        seed: int,
        log: RollLog,
        *,
        ordinal: int = 0,
        replica: tuple[int, int] = (0, 1),
    ) -> None:
        self._choices = choices
        self._dice = Dice(choices.throw, seed, log, ordinal, choices.draws)
        self._replica, self._replicas = replica
        self._windows = Windows()
        self._per_mini_batch = choices.granularity == "per_mini_batch"
        self.steps: list[ScaledSteps] = []
        self.watch: Watch | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        """Be ``None`` in a copy of whoever drives this: a copy has no optimizers to roll for."""
        return type(None), ()

    @property
    def last_roll(self) -> Roll | list[Roll] | None:
        """The newest roll, or with a scope of several slots the list of them; ``None`` before."""
        newest = self._dice.newest
        if not newest:
            return None
        if self._per_mini_batch:
            return newest[self._replica]
        return newest[0] if self._choices.scope == "model" else list(newest)

    def attach(
        self,
        optimizers: Sequence[Optimizer],
        names: NameSource,
        place: Callable[[], Place | None] = lambda: None,
    ) -> None:
        """Scale the steps of ``optimizers``, and of no others.

        Args:
            optimizers: Those of the training, in an order that stays.
            names: Gives the names of parameters, for ``include`` and ``exclude``; it is asked again
                when parameters have joined.
            place: Gives how far training is when an optimizer's step begins, if that is known: what
                is going to be rolled can then be foreseen.
        """
        self.detach()
        choices = self._choices
        self.steps = [
            ScaledSteps(
                optimizer,
                choices.target,
                SlotTable(optimizer, choices.scope, names, choices.chosen),
                partial(self._foresee, index, place),
            )
            for index, optimizer in enumerate(optimizers)
        ]
        self.watch = Watch(optimizers, partial(_any_busy, weakref.WeakSet(self.steps)))
        weakref.finalize(self, self.watch.close)  # also of a loop that ends without a word

    def detach(self) -> None:
        """Leave the optimizers as they were."""
        for steps in self.steps:
            steps.remove()
        self.steps = []
        if self.watch is not None:
            self.watch.close()

    def check(self) -> None:
        """Warn if weights have been trained so far without a single roll."""
        if self.watch is not None:
            self.watch.check()

    def discards(self, index: int, *, step: int) -> bool:
        """Whether nothing will be left of a step of an optimizer, before it is computed.

        Args:
            index: Which of the optimizers.
            step: Optimizer steps completed so far.
        """
        steps = self.steps[index]
        slots = steps.slots()
        scales = self._dice.scales(step, optimizer=index, slots=slots)
        if not scales or any(scale is not None for scale in scales):
            return False
        # What is not rolled for is trained as always.
        rolled = {parameter for own in slots.values() for parameter in own}
        groups = steps.optimizer.param_groups
        return rolled.issuperset(p for g in groups for p in g["params"] if p.requires_grad)

    def before_step(self, index: int, *, step: int, batch: int) -> None:
        """Decide what is to become of the next step of an optimizer.

        Args:
            index: Which of the optimizers.
            step: Optimizer steps completed so far.
            batch: Mini-batches completed before the one at hand.
        """
        self._note_roll()
        if self._per_mini_batch:
            discarded = self.discarded(index, step=step, batch=batch)
            if discarded is not None:
                self.steps[index].next({0: None} if discarded else {})
        else:
            slots = self.steps[index].slots()
            rolls = self._dice.roll(step, step=step, batch=batch, optimizer=index, slots=slots)
            scales = (roll.scale for roll in rolls)
            self.steps[index].next(dict(zip(slots, scales, strict=True)))

    def discarded(self, index: int, *, step: int, batch: int) -> bool | None:
        """Whether no mini-batch was kept for this step; ``None`` if none was rolled for it."""
        return self._windows.discarded(step, batch, index)

    def _foresee(
        self, index: int, place: Callable[[], Place | None]
    ) -> dict[int, float | None] | None:
        """Return what will be rolled for a step of an optimizer that begins, by slot."""
        where = place()
        if where is None:
            return None
        step, batch = where
        if self._per_mini_batch:
            scales = self._dice.scales(batch, slots=range(self._replicas))
            gone = all(scale is None for scale in scales)
            return {0: None} if self._windows.foresees(step, batch, index, gone) else None
        slots = self.steps[index].slots()
        scales = self._dice.scales(step, optimizer=index, slots=slots)
        return dict(zip(slots, scales, strict=True))

    def forget(self) -> None:
        """Drop what was rolled for a step that was not made."""
        for steps in self.steps:
            steps.next(None)

    def backward(
        self,
        backward: Callable[..., None],
        loss: Tensor,
        *args: Any,
        step: int,
        batch: int,
        zeroed: Iterable[Tensor] | None,
        **kwargs: Any,
    ) -> float | None:
        """Roll for a mini-batch, and propagate its loss times what was rolled.

        Args:
            backward: As in ``scaled_backward``, as are the following.
            loss: The true loss.
            *args: Passed on.
            step: Optimizer steps completed so far.
            batch: Mini-batches completed so far.
            zeroed: Parameters whose gradients others wait for.
            **kwargs: Passed on.

        Returns:
            The scale of the mini-batch; ``None`` is a discard.
        """
        self._note_roll()
        # Every rank knows what all of them rolled, so nobody has to be told.
        rolls = self._dice.roll(batch, step=step, batch=batch, slots=range(self._replicas))
        self._windows.rolled(batch, discard=all(roll.discard for roll in rolls))
        scale = rolls[self._replica].scale
        scaled_backward(backward, loss, scale, *args, zeroed=zeroed, **kwargs)
        return scale

    def _note_roll(self) -> None:
        if self.watch is not None:
            self.watch.rolled()


def _any_busy(steps: Iterable[ScaledSteps]) -> bool:
    return any(own.busy for own in steps)
