"""The saving throw as a callback for any Lightning Trainer."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from torch import Tensor
from torch.optim import Optimizer
from typing_extensions import override

from lightning_dice.checks import check_setup
from lightning_dice.choices import Choices, Granularity, Ranks
from lightning_dice.deepspeed_engine import intercept_engine, uses_deepspeed
from lightning_dice.intercept import intercept, untraced
from lightning_dice.left_out import ends_window, leave_out
from lightning_dice.metrics.logged import dice_metrics
from lightning_dice.ranks import check_same, gather, optimizer_settings, training_settings
from lightning_dice.records import RollLog, SlotFile
from lightning_dice.resuming import check_changes, check_resume, find_state
from lightning_dice.rolling import Rolling
from lightning_dice.rules import Roll, SavingThrow, SettingError
from lightning_dice.rules.draws import Draws
from lightning_dice.rules.words import advice, meaning
from lightning_dice.scope import Scope, parameter_names
from lightning_dice.steps import Target
from lightning_dice.trainer_state import (
    batches_done,
    clips,
    index_of,
    log_at_batch_end,
    log_folder,
    logs_now,
    replica_of,
    scaler_of,
)

# So that a module which keeps its saving throw as a hyper-parameter loads with weights_only=True.
torch.serialization.add_safe_globals([SavingThrow])


class SavingThrowCallback(Callback):
    """Rolls a die for every weight update, or every mini-batch, and scales its gradient.

    With ``per_accumulation_step`` the roll is made in ``on_before_optimizer_step`` and acts inside
    the optimizer's step, after every hook and all clipping. With ``target="gradient"`` the
    optimizer sees s x (clipped gradient), and on a discard no gradient at all: weights, moments and
    step counts stay as they are. With ``target="update"`` the weights move by s x (the step that
    the optimizer would have made), and its state advances as it would have. With
    ``per_mini_batch`` the loss is scaled on its way into ``backward``; what ``training_step``
    returned and logged stays the true loss.

    A roll is a pure function of the seed and of how far training is: ranks agree, resumed runs go
    on with the same sequence, and the global random state is never touched. No rank sends a message
    while it trains; at the start they compare what they were given.

    The rolls are in ``rolls.csv`` beside the first logger's files (nowhere, if that has no folder)
    and the newest ones in ``rolls.recent``; ``dice/...`` metrics are logged every
    ``log_every_n_steps``.

    Args:
        throw: Die, threshold and scaling.
        granularity: What one roll belongs to in time: ``"per_accumulation_step"`` (an optimizer
            step) or ``"per_mini_batch"``.
        target: What is scaled: the ``"gradient"`` that the optimizer sees, or the ``"update"`` that
            it makes.
        scope: What one roll belongs to in space: the whole ``"model"``, a ``"param_group"`` of the
            optimizer, or one parameter ``"tensor"``.
        include: Patterns of parameter names, such as ``["blocks.*.weight"]``; what matches none is
            not rolled for, and trained as always. ``None`` includes all.
        exclude: Patterns of parameter names that are not rolled for, included or not.
        ranks: With ``per_mini_batch`` and several processes: one roll that is ``"shared"`` by what
            all of them compute at a time, or an ``"independent"`` one for each. In ``rolls.csv`` a
            replica's rolls have its number as their slot.
        draws: How naturals come up: ``"independent"`` of each other, as a die is rolled, or dealt
            from a shuffled ``"deck"``, which is a control for what independence does.
        seed: 0 to 2^64 - 1; ``None`` takes the seed of ``seed_everything``, or else draws one,
            shared by all ranks.
        skip_discarded: Leave out forward and backward of every step whose update will be
            discarded. Weights, rolls, data order and schedules stay the same unless the forward
            pass itself has an effect: statistics of batch norm, random numbers of dropout.
        changes: Names of settings that may differ from those of the checkpoint that training goes
            on from, such as ``["threshold"]``; any other difference is an error.

    Raises:
        SettingError: If a value is outside what is allowed, or, when training starts, if the
            Trainer or the checkpoint does not go with it; the message names the remedy.

    Example:
        >>> from lightning.pytorch import Trainer
        >>> throw = SavingThrow("d20", threshold=10)
        >>> trainer = Trainer(callbacks=[SavingThrowCallback(throw, seed=0)], accelerator="cpu",
        ...                   logger=False, enable_checkpointing=False)
    """

    def __init__(
        self,
        throw: SavingThrow | None = None,
        *,
        granularity: Granularity = Choices.granularity,
        target: Target = Choices.target,
        scope: Scope = Choices.scope,
        include: Sequence[str] | None = None,
        exclude: Sequence[str] | None = None,
        ranks: Ranks = Choices.ranks,
        draws: Draws = Choices.draws,
        seed: int | None = None,
        skip_discarded: bool = Choices.skip_discarded,
        changes: Sequence[str] = (),
    ) -> None:
        self.choices = Choices(
            SavingThrow() if throw is None else throw,
            granularity=granularity,
            target=target,
            scope=scope,
            include=include,
            exclude=exclude,
            ranks=ranks,
            draws=draws,
            seed=seed,
            skip_discarded=skip_discarded,
        )
        self.seed = self.choices.seed
        self.changes = check_changes(changes, self.settings)
        # Lightning asks for it before each of a step's hooks.
        self._state_key = self._generate_state_key(**self.choices.settings())
        self.rolls = RollLog()
        self.left_out = 0  # optimizer steps so far whose gradients were not computed
        self._slots: SlotFile | None = None
        self._ordinal = 0  # which of the Trainer's saving throws this is
        self._rolling: Rolling | None = None
        self._changed = False  # from what the checkpoint had
        self._starts = False
        self._undo: list[Callable[[], None]] = []

    # -- what it is ---------------------------------------------------------------------------

    @property
    def throw(self) -> SavingThrow:
        """What is rolled."""
        return self.choices.throw

    @property
    def settings(self) -> dict[str, Any]:
        """Everything that decides the rolls and what they do, as plain values."""
        return self.choices.settings(seed=self.seed)

    @property
    def last_roll(self) -> Roll | list[Roll] | None:
        """The newest roll, or with a scope of several slots the list of them; ``None`` before."""
        return None if self._rolling is None else self._rolling.last_roll

    @property
    @override
    def state_key(self) -> str:
        return self._state_key

    @override
    def state_dict(self) -> dict[str, Any]:
        return {
            "settings": self.settings,
            "left_out": self.left_out,
            **self.rolls.state_dict(),
        }

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        if self.choices.seed is None and "seed" not in self.changes:
            self.seed = state_dict["settings"]["seed"]
        differ = check_resume(self.settings, state_dict["settings"], self.changes)
        self._changed = bool(differ)
        if not differ:  # otherwise its counts are of other odds
            self.rolls.load_state_dict(state_dict)
            self.left_out = state_dict.get("left_out", 0)

    @override
    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        if trainer.state.fn == "fit":
            keys = {callback.state_key for callback in _saving_throws(trainer)}
            state = self.find_state(checkpoint["callbacks"], keys)
            if state is not None:
                self.load_state_dict(state)

    def find_state(self, states: Mapping[str, Any], keys: Collection[str]) -> dict[str, Any] | None:
        """The state of another saving throw that this one may go on from.

        Args:
            states: The checkpoint's ``callbacks``: states by key.
            keys: The keys of all saving throws in this training.

        Returns:
            ``None`` if the checkpoint has this one's own state, or none of any saving throw.

        Raises:
            SettingError: Naming every setting that differs and is not one of ``changes``.
        """
        state = find_state(self.choices.settings(), states, self.state_key, keys, self.changes)
        return None if state is None else dict(state)

    # -- the life of a run --------------------------------------------------------------------

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage != "fit":
            return
        siblings = _saving_throws(trainer)
        self._ordinal = siblings.index(self)
        drawn = int(os.environ.get("PL_GLOBAL_SEED") or secrets.randbits(32))
        mine = {
            **self.choices.settings(),
            "skip_discarded": self.choices.skip_discarded,
            "changes": self.changes,
        }
        # First of all: a rank that stops where others go on leaves them waiting.
        ranks = gather((mine, training_settings(trainer), drawn), trainer.world_size)
        check_same([own for own, _, _ in ranks])
        check_same([training for _, training, _ in ranks])
        granularities = [callback.choices.granularity for callback in siblings]
        check_setup(self.choices, granularities, trainer, pl_module)
        if self.choices.seed is None and (self.seed is None or batches_done(trainer) == 0):
            self.seed = ranks[0][2]

    @override
    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        check_same(gather(optimizer_settings(trainer.optimizers), trainer.world_size))
        caution = advice(self.throw)
        if caution is not None:
            rank_zero_warn(f"{self.throw}: {meaning(self.throw)}; {caution}")
        if self.choices.granularity == "per_mini_batch" and clips(trainer, pl_module):
            rank_zero_warn(
                "gradient clipping comes after the rolls of mini-batches, and where it binds it "
                "undoes their size; use granularity='per_accumulation_step', which clips first, "
                "or leave gradient_clip_val out"
            )
        self.choices.chosen.check(parameter_names(pl_module).values())
        for logger in trainer.loggers:
            logger.log_hyperparams({self._name("saving_throw"): self.settings})

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert self.seed is not None, "setup, or the checkpoint, decides the seed"
        self._detach()
        apart = self.choices.ranks == "independent"
        self._rolling = Rolling(
            self.choices,
            self.seed,
            self.rolls,
            ordinal=self._ordinal,
            replica=replica_of(trainer) if apart else (0, 1),
        )
        self._starts = True
        # Not in setup: a learning-rate search sets callbacks up and then trains without them.
        self._attach(trainer, pl_module)

    @override
    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        pairs = zip(self._rolled.steps, trainer.optimizers, strict=False)
        if any(steps.optimizer is not optimizer for steps, optimizer in pairs):
            self._attach_steps(trainer, pl_module)  # optimizers were made anew
        if not self._starts:
            return
        # Not sooner: only here does Lightning's count of batches stand where training goes on.
        self._starts, next_batch = False, batches_done(trainer)
        if next_batch == 0:
            self.rolls.reset()  # what this callback rolled in another training is no part of it
            self.left_out = 0
        if self._changed:
            self._changed = False
            self.rolls.reset(since=trainer.global_step)
        folder = log_folder(trainer)
        if folder is not None:
            path = folder / f"{self._name('rolls')}.csv"
            self.rolls.open(path, next_batch, trainer.global_step)
            several = self.choices.scope != "model"
            self._slots = SlotFile(folder / f"{self._name('slots')}.csv") if several else None
            self._write(pl_module)

    @override
    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        self._rolled.forget()  # a roll is for this mini-batch, also where a gradient scaler skipped
        # Logging costs as much as a small model's step, so it is left to the steps that are shown.
        if logs_now(trainer) and self.rolls.tally.rolls:
            odds = self.throw.odds()
            prefix = self._name("dice")
            metrics = dice_metrics(self.rolls.tally, odds, prefix)
            if self.choices.skip_discarded:
                metrics[f"{prefix}/left_out"] = float(self.left_out)
            log_at_batch_end(trainer, pl_module, metrics)
            self._write(pl_module)

    @override
    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        self._write(pl_module)  # what a checkpoint counts is in the file

    @override
    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._write(pl_module)
        self.rolls.close()

    @override
    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        self._detach()
        with suppress(SettingError):  # the error at hand matters more
            self.rolls.close()

    @override
    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._detach()
        self.rolls.close()

    # -- the roll -----------------------------------------------------------------------------

    @override
    @untraced
    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer
    ) -> None:
        if uses_deepspeed(trainer):
            return  # this comes with every mini-batch there; its engine asks when it steps
        step, batch = trainer.global_step, batches_done(trainer)
        self._rolled.before_step(index_of(optimizer, trainer), step=step, batch=batch)

    # -- helpers ------------------------------------------------------------------------------

    @property
    def _rolled(self) -> Rolling:
        assert self._rolling is not None, "on_train_start comes before every mini-batch"
        return self._rolling

    def _attach(self, trainer: Trainer, pl_module: LightningModule) -> None:
        backward = partial(self._backward, trainer, pl_module)
        if uses_deepspeed(trainer):
            discarded = partial(self._discarded, trainer)
            self._undo += intercept_engine(trainer.model, backward, discarded)
            return
        if self.choices.granularity == "per_mini_batch":
            self._undo.append(intercept(pl_module, "backward", backward))
        if self.choices.skip_discarded:
            self._undo.append(leave_out(trainer, partial(self._leaves_out, trainer)))
        self._attach_steps(trainer, pl_module)

    def _attach_steps(self, trainer: Trainer, pl_module: LightningModule) -> None:
        rolling = self._rolled
        rolling.attach(trainer.optimizers, parameter_names(pl_module))
        for steps in rolling.steps:
            if steps.copies:
                rank_zero_info(steps.note)
        if not any(steps.slots() for steps in rolling.steps):
            rank_zero_warn(
                "no optimizer of the Trainer has parameters that are rolled for, so that nothing "
                "will be; include some that are trained, by an optimizer of configure_optimizers"
            )

    @untraced
    def _backward(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        backward: Callable[..., None],
        loss: Tensor,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        step, batch = trainer.global_step, batches_done(trainer)
        # Somebody may count on gradients of every mini-batch, a discarded one's too.
        several, scaler = trainer.world_size > 1, scaler_of(trainer)
        waited_for = several or scaler is not None or uses_deepspeed(trainer)
        zeroed = pl_module.parameters() if waited_for else None
        self._rolled.backward(
            backward, loss, *args, step=step, batch=batch, zeroed=zeroed, **kwargs
        )

    def _leaves_out(self, trainer: Trainer, optimizer: Optimizer) -> bool:
        index = index_of(optimizer, trainer)
        if not self._rolled.discards(index, step=trainer.global_step):
            return False
        self.left_out += ends_window(trainer)
        return True

    def _discarded(self, trainer: Trainer) -> bool | None:
        step, batch = trainer.global_step, batches_done(trainer)
        return self._rolled.discarded(0, step=step, batch=batch)

    def _detach(self) -> None:
        self._slots = None  # a checkpoint that is saved later would find no slots
        if self._rolling is not None:
            self._rolling.detach()
        while self._undo:
            self._undo.pop()()

    def _write(self, pl_module: LightningModule) -> None:
        self.rolls.flush()
        if self._slots is not None:
            tables = (steps.slots() for steps in self._rolled.steps)
            self._slots.write(tables, parameter_names(pl_module))

    def _name(self, stem: str) -> str:
        return stem if self._ordinal == 0 else f"{stem}-{self._ordinal + 1}"


def _saving_throws(trainer: Trainer) -> list[SavingThrowCallback]:
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
    return [callback for callback in callbacks if isinstance(callback, SavingThrowCallback)]
