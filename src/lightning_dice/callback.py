"""The saving throw as a callback for any Lightning Trainer."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any, Literal, get_args

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from torch.optim import Optimizer
from typing_extensions import override

from lightning_dice.checks import check_choice, check_setup, check_throw
from lightning_dice.deepspeed_engine import uses_deepspeed
from lightning_dice.dice import Dice
from lightning_dice.intercept import untraced
from lightning_dice.metrics.logged import dice_metrics
from lightning_dice.mini_batch import MiniBatches, Ranks
from lightning_dice.ranks import check_same, gather, optimizer_settings, training_settings
from lightning_dice.records import RollLog, SlotFile
from lightning_dice.resuming import check_changes, check_resume, find_state
from lightning_dice.rules import Roll, SavingThrow, SettingError
from lightning_dice.rules.roller import Draws, check_draws, check_seed
from lightning_dice.rules.words import advice, meaning
from lightning_dice.scope import NameFilter, Scope, SlotTable, parameter_names
from lightning_dice.steps import ScaledSteps, Target
from lightning_dice.trainer_state import (
    batches_done,
    clips,
    index_of,
    log_folder,
    logs_now,
)

Granularity = Literal["per_accumulation_step", "per_mini_batch"]

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
        granularity: Granularity = "per_accumulation_step",
        target: Target = "gradient",
        scope: Scope = "model",
        include: Sequence[str] | None = None,
        exclude: Sequence[str] | None = None,
        ranks: Ranks = "shared",
        draws: Draws = "independent",
        seed: int | None = None,
        changes: Sequence[str] = (),
    ) -> None:
        self.throw = check_throw(throw or SavingThrow())
        self.granularity = check_choice("granularity", granularity, get_args(Granularity))
        self.target = check_choice("target", target, get_args(Target))
        self.scope = check_choice("scope", scope, get_args(Scope))
        self.chosen = NameFilter(include, exclude)
        self.ranks = check_choice("ranks", ranks, get_args(Ranks))
        self.draws = check_draws(draws, self.throw.die)
        self.seed = None if seed is None else check_seed(seed)
        self.changes = check_changes(changes, self.settings)
        self.rolls = RollLog()
        self._slots: SlotFile | None = None
        self._given_seed = self.seed
        self._ordinal = 0  # which of the Trainer's saving throws this is
        self._dice: Dice | None = None
        self._changed = False  # from what the checkpoint had
        self._mini_batches: MiniBatches | None = None
        self._steps: list[ScaledSteps] = []  # one for each of the Trainer's optimizers
        self._starts = False
        self._undo: list[Callable[[], None]] = []

    # -- what it is ---------------------------------------------------------------------------

    @property
    def settings(self) -> dict[str, Any]:
        """Everything that decides the rolls and what they do, as plain values."""
        return {
            **self.throw.settings(),
            "granularity": self.granularity,
            "target": self.target,
            "scope": self.scope,
            "include": self.chosen.include,
            "exclude": self.chosen.exclude,
            "ranks": self.ranks,
            "draws": self.draws,
            "seed": self.seed,
        }

    @property
    def last_roll(self) -> Roll | list[Roll] | None:
        """The newest roll, or with a scope of several slots the list of them; ``None`` before."""
        if self._dice is None or not self._dice.newest:
            return None
        newest = self._dice.newest
        if self._mini_batches is not None:
            return self._mini_batches.own(newest)
        return newest[0] if self.scope == "model" else list(newest)

    @property
    @override
    def state_key(self) -> str:
        return self._generate_state_key(**{**self.settings, "seed": self._given_seed})

    @override
    def state_dict(self) -> dict[str, Any]:
        return {"settings": self.settings, **self.rolls.state_dict()}

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        if self._given_seed is None and "seed" not in self.changes:
            self.seed = state_dict["settings"]["seed"]
        differ = check_resume(self.settings, state_dict["settings"], self.changes)
        self._changed = bool(differ)
        if not differ:  # otherwise its counts are of other odds
            self.rolls.load_state_dict(state_dict)

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
        given = {**self.settings, "seed": self._given_seed}
        state = find_state(given, states, self.state_key, keys, self.changes)
        return None if state is None else dict(state)

    # -- the life of a run --------------------------------------------------------------------

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage != "fit":
            return
        siblings = _saving_throws(trainer)
        self._ordinal = siblings.index(self)
        drawn = int(os.environ.get("PL_GLOBAL_SEED") or secrets.randbits(32))
        mine = {**self.settings, "seed": self._given_seed, "changes": self.changes}
        # First of all: a rank that stops where others go on leaves them waiting.
        ranks = gather((mine, training_settings(trainer), drawn), trainer)
        check_same([own for own, _, _ in ranks])
        check_same([training for _, training, _ in ranks])
        granularities = [callback.granularity for callback in siblings]
        check_setup(self.throw, self.settings, granularities, trainer, pl_module)
        if self._given_seed is None and (self.seed is None or batches_done(trainer) == 0):
            self.seed = ranks[0][2]

    @override
    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        check_same(gather(optimizer_settings(trainer.optimizers), trainer))
        caution = advice(self.throw)
        if caution is not None:
            rank_zero_warn(f"{self.throw}: {meaning(self.throw)}; {caution}")
        if self.granularity == "per_mini_batch" and clips(trainer, pl_module):
            rank_zero_warn(
                "gradient clipping comes after the rolls of mini-batches, and where it binds it "
                "undoes their size; use granularity='per_accumulation_step', which clips first, "
                "or leave gradient_clip_val out"
            )
        self.chosen.check(parameter_names(pl_module).values())
        for logger in trainer.loggers:
            logger.log_hyperparams({self._name("saving_throw"): self.settings})

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert self.seed is not None, "setup, or the checkpoint, decides the seed"
        self._dice = Dice(self.throw, self.seed, self.rolls, self._ordinal, self.draws)
        self._starts = True
        # Not in setup: a learning-rate search sets callbacks up and then trains without them.
        self._detach()
        self._attach(trainer, pl_module)
        if self.granularity == "per_mini_batch":
            self._mini_batches = MiniBatches(self._dice, self.ranks, trainer, pl_module)
            self._undo += self._mini_batches.attach()

    @override
    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if any(s.optimizer is not o for s, o in zip(self._steps, trainer.optimizers, strict=False)):
            self._attach(trainer, pl_module)  # optimizers were made anew
        if not self._starts:
            return
        # Not sooner: only here does Lightning's count of batches stand where training goes on.
        self._starts, next_batch = False, batches_done(trainer)
        if next_batch == 0:
            self.rolls.reset()  # what this callback rolled in another training is no part of it
        if self._changed:
            self._changed = False
            self.rolls.reset(since=trainer.global_step)
        folder = log_folder(trainer)
        if folder is not None:
            path = folder / f"{self._name('rolls')}.csv"
            self.rolls.open(path, next_batch, trainer.global_step)
            several = self.scope != "model"
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
        for steps in self._steps:
            steps.next(None)  # a roll is for this mini-batch, also where a gradient scaler skipped
        # Logging costs as much as a small model's step, so it is left to the steps that are shown.
        if logs_now(trainer) and self.rolls.tally.rolls:
            odds = self.throw.odds()
            pl_module.log_dict(dice_metrics(self.rolls.tally, odds, self._name("dice")))
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
        index = index_of(optimizer, trainer)
        if self._mini_batches is not None:
            discarded = self._mini_batches.discarded(index)
            if discarded is not None:
                self._steps[index].next({0: None} if discarded else {})
        else:
            slots = self._steps[index].slots()
            assert self._dice is not None, "on_train_start comes before every step"
            step, batch = trainer.global_step, batches_done(trainer)
            rolls = self._dice.roll(step, step=step, batch=batch, optimizer=index, slots=slots)
            scales = (roll.scale for roll in rolls)
            self._steps[index].next(dict(zip(slots, scales, strict=True)))

    # -- helpers ------------------------------------------------------------------------------

    def _attach(self, trainer: Trainer, pl_module: LightningModule) -> None:
        for steps in self._steps:
            steps.remove()
        if uses_deepspeed(trainer):
            return
        names = parameter_names(pl_module)
        self._steps = [
            ScaledSteps(o, self.target, SlotTable(o, self.scope, names, self.chosen))
            for o in trainer.optimizers
        ]
        for steps in self._steps:
            if steps.copies:
                rank_zero_info(
                    f"{type(steps.optimizer).__name__}: its step is not known to be linear in its "
                    "learning rate, so weights that are rolled for are copied in every step"
                )
        if not any(steps.slots() for steps in self._steps):
            rank_zero_warn(
                "no optimizer of the Trainer has parameters that are rolled for, so that nothing "
                "will be; include some that are trained, by an optimizer of configure_optimizers"
            )

    def _detach(self) -> None:
        self._slots = None  # a checkpoint that is saved later would find no slots
        for steps in self._steps:
            steps.remove()
        self._steps = []
        while self._undo:
            self._undo.pop()()

    def _write(self, pl_module: LightningModule) -> None:
        self.rolls.flush()
        if self._slots is not None:
            self._slots.write((steps.slots() for steps in self._steps), parameter_names(pl_module))

    def _name(self, stem: str) -> str:
        return stem if self._ordinal == 0 else f"{stem}-{self._ordinal + 1}"


def _saving_throws(trainer: Trainer) -> list[SavingThrowCallback]:
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
    return [callback for callback in callbacks if isinstance(callback, SavingThrowCallback)]
