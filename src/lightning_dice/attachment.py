"""The dice of one training by a Lightning Trainer: where they are attached, and when they roll."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from torch import Tensor
from torch.optim import Optimizer

from lightning_dice.choices import Choices
from lightning_dice.clipping import spare_clipping
from lightning_dice.deepspeed_engine import intercept_engine, uses_deepspeed
from lightning_dice.intercept import intercept, untraced
from lightning_dice.left_out import ends_window, leave_out
from lightning_dice.records import RollLog
from lightning_dice.response import gradient_notice
from lightning_dice.rolling import Rolling
from lightning_dice.rules import Roll
from lightning_dice.scope import Slots, parameter_names
from lightning_dice.trainer_state import batches_done, index_of, replica_of, scaler_of


class Attachment:
    """Dice that are attached to the optimizers, the module and the loop of one training.

    Args:
        trainer: The Trainer, which has its optimizers.
        pl_module: The module that it trains.
        choices: What was chosen about the dice.
        seed: 0 to 2^64 - 1, the same on all ranks.
        rolls: Where rolls are recorded.
        ordinal: Tells apart several saving throws in one training; the first is 0.
        skips: Is called for every optimizer step that is skipped.
    """

    def __init__(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        choices: Choices,
        seed: int,
        rolls: RollLog,
        ordinal: int,
        skips: Callable[[], None],
    ) -> None:
        self._trainer = trainer
        self._module = pl_module
        self._choices = choices
        self._skips = skips
        apart = choices.ranks == "independent"
        replica = replica_of(trainer) if apart else (0, 1)
        self._rolling = Rolling(choices, seed, rolls, ordinal=ordinal, replica=replica)
        self._undo: list[Callable[[], None]] = []
        self._attach()
        self.attached = True

    @property
    def last_roll(self) -> Roll | list[Roll] | None:
        """The newest roll, or with a scope of several slots the list of them; ``None`` before."""
        return self._rolling.last_roll

    def slots(self) -> Iterator[Slots]:
        """Return the parameters that share a roll, by slot, for each optimizer."""
        return (steps.slots() for steps in self._rolling.steps)

    def notices(self) -> list[str]:
        """Return the lines that a training with these optimizers begins with."""
        rolled = (steps.optimizer for steps in self._rolling.steps if steps.slots())
        notices = (gradient_notice(optimizer, self._choices) for optimizer in rolled)
        return [notice for notice in dict.fromkeys(notices) if notice is not None]

    def refresh(self) -> None:
        """Attach to the Trainer's optimizers anew, where others took their place."""
        pairs = zip(self._rolling.steps, self._trainer.optimizers, strict=False)
        if any(steps.optimizer is not optimizer for steps, optimizer in pairs):
            self._attach_steps()

    def before_step(self, optimizer: Optimizer) -> None:
        """Roll for the next step of ``optimizer``, or decide it by its mini-batches' rolls."""
        # Under DeepSpeed this comes with every mini-batch; its engine asks when it steps.
        if not uses_deepspeed(self._trainer):
            index = index_of(optimizer, self._trainer)
            self._rolling.before_step(index, step=self._step, batch=self._batch)

    def forget(self) -> None:
        """Drop the rolls of steps that were not made."""
        self._rolling.forget()

    def detach(self) -> None:
        """Leave the optimizers, the module and the loop as they were."""
        self.attached = False
        self._rolling.detach()
        while self._undo:
            self._undo.pop()()

    @property
    def _step(self) -> int:
        return self._trainer.global_step

    @property
    def _batch(self) -> int:
        return batches_done(self._trainer)

    def _attach(self) -> None:
        if uses_deepspeed(self._trainer):
            engine = self._trainer.model
            self._undo += intercept_engine(engine, self._backward, self._discarded)
            return
        if self._choices.granularity == "per_mini_batch":
            self._undo.append(intercept(self._module, "backward", self._backward))
            self._undo += spare_clipping(self._module)
        if self._choices.skip_discarded:
            self._undo.append(leave_out(self._trainer, self._leaves_out))
            self._undo += spare_clipping(self._module)
        self._attach_steps()

    def _attach_steps(self) -> None:
        names = partial(parameter_names, self._module)
        self._rolling.attach(self._trainer.optimizers, names, lambda: (self._step, self._batch))
        for steps in self._rolling.steps:
            if steps.copies:
                rank_zero_info(steps.note)
        if not any(self.slots()):
            rank_zero_warn(
                "no optimizer of the Trainer has parameters that are rolled for, so that nothing "
                "will be; include some that are trained, by an optimizer of configure_optimizers"
            )

    @untraced
    def _backward(
        self, backward: Callable[..., None], loss: Tensor, *args: Any, **kwargs: Any
    ) -> None:
        # Others may count on gradients of every mini-batch, a discarded one's too.
        trainer = self._trainer
        waited_for = (
            trainer.world_size > 1 or scaler_of(trainer) is not None or uses_deepspeed(trainer)
        )
        zeroed = self._module.parameters() if waited_for else None
        where = {"step": self._step, "batch": self._batch}
        self._rolling.backward(backward, loss, *args, **where, zeroed=zeroed, **kwargs)

    def _leaves_out(self, optimizer: Optimizer) -> bool:
        index = index_of(optimizer, self._trainer)
        if not self._rolling.discards(index, step=self._step):
            return False
        if ends_window(self._trainer):
            self._skips()
        return True

    def _discarded(self) -> bool | None:
        return self._rolling.discarded(0, step=self._step, batch=self._batch)
