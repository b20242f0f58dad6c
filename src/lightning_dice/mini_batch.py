"""One roll per mini-batch, and which windows of mini-batches were discarded whole."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal

from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from lightning_dice.deepspeed_engine import intercept_engine, uses_deepspeed
from lightning_dice.dice import Dice
from lightning_dice.gradients import scaled_backward
from lightning_dice.intercept import intercept, untraced
from lightning_dice.rules import Roll
from lightning_dice.trainer_state import batches_done, replica_of, scaler_of

Ranks = Literal["shared", "independent"]


class Windows:
    """Tells whether every mini-batch that an optimizer step rests on was discarded.

    Mini-batches are counted from 0 over the whole training; a window is what was rolled for since
    the optimizer's last step, at the least the mini-batch at hand.

    Example:
        >>> windows = Windows()
        >>> windows.rolled(batch=0, discard=True)
        >>> windows.discarded(step=0, batch=0, optimizer=0)
        True
        >>> windows.rolled(batch=1, discard=False); windows.rolled(batch=2, discard=True)
        >>> windows.discarded(step=1, batch=2, optimizer=0)
        False
    """

    def __init__(self) -> None:
        self._last_rolled = -1
        self._last_kept = -1
        self._last_step: dict[int, tuple[int, int, bool | None]] = {}

    def rolled(self, batch: int, discard: bool) -> None:
        """Note what became of ``batch``, on all ranks together."""
        self._last_rolled = batch
        if not discard:
            self._last_kept = batch

    def discarded(self, step: int, batch: int, optimizer: int) -> bool | None:
        """Whether nothing was kept for the step ``step`` that ``optimizer`` takes in ``batch``.

        ``None`` if nothing was rolled for it: its gradients are none of ours. Asked again within
        one step (an optimizer that evaluates its closure many times), the answer stays the same.
        """
        last_step, last_batch, answer = self._last_step.get(optimizer, (-1, -1, None))
        if step != last_step:
            before = min(last_batch, batch - 1)
            answer = self._last_kept <= before if self._last_rolled > before else None
            self._last_step[optimizer] = step, batch, answer
        return answer


class MiniBatches:
    """Rolls for the mini-batches of one training, and scales losses on their way into backward.

    Args:
        dice: What is rolled.
        ranks: Whether all processes share one roll, or each replica has its own.
        trainer: Says how far training is, and which replica this process computes.
        pl_module: The module that is trained.
    """

    def __init__(
        self, dice: Dice, ranks: Ranks, trainer: Trainer, pl_module: LightningModule
    ) -> None:
        self._dice = dice
        self._trainer = trainer
        self._module = pl_module
        self._replica, self._replicas = replica_of(trainer) if ranks == "independent" else (0, 1)
        self._windows = Windows()

    def attach(self) -> list[Callable[[], None]]:
        """Begin; returns functions that take away what was put in place."""
        if uses_deepspeed(self._trainer):
            discarded = partial(self.discarded, optimizer=0)
            return intercept_engine(self._trainer.model, self._backward, discarded)
        return [intercept(self._module, "backward", self._backward)]

    def own(self, rolls: Sequence[Roll]) -> Roll:
        """The one of all replicas' rolls that is for this process."""
        return rolls[self._replica]

    def discarded(self, optimizer: int) -> bool | None:
        """Whether nothing was kept for the step at hand; ``None`` if nothing was rolled for it."""
        step, batch = self._trainer.global_step, batches_done(self._trainer)
        return self._windows.discarded(step, batch, optimizer)

    @untraced
    def _backward(
        self, backward: Callable[..., None], loss: Tensor, *args: Any, **kwargs: Any
    ) -> None:
        step, batch = self._trainer.global_step, batches_done(self._trainer)
        # Every rank knows what all of them rolled, so nobody has to be told.
        rolls = self._dice.roll(batch, step=step, batch=batch, slots=range(self._replicas))
        self._windows.rolled(batch, discard=all(roll.discard for roll in rolls))
        zeroed = self._module.parameters() if self._is_waited_for() else None
        scaled_backward(backward, loss, self.own(rolls).scale, *args, zeroed=zeroed, **kwargs)

    def _is_waited_for(self) -> bool:
        """Whether somebody counts on gradients of every mini-batch, a discarded one's too."""
        trainer = self._trainer
        several, scaler = trainer.world_size > 1, scaler_of(trainer)
        return several or scaler is not None or uses_deepspeed(trainer)
