"""The saving throw as a callback for any Lightning Trainer."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor
from torch.optim import Optimizer
from typing_extensions import override

from lightning_dice.checks import (
    check_choice,
    check_fit,
    check_ranks,
    check_resume,
    check_setup,
    check_throw,
)
from lightning_dice.dice import Dice
from lightning_dice.gradients import parameters_of, scale_gradients, scaled_backward
from lightning_dice.intercept import Layer, intercept
from lightning_dice.metrics.functional import OUTCOMES, luck
from lightning_dice.mini_batch import Windows
from lightning_dice.records import RollLog
from lightning_dice.rules import Roll, SavingThrow, SettingError
from lightning_dice.rules.roller import check_seed
from lightning_dice.rules.words import advice, meaning
from lightning_dice.trainer_state import (
    batches_done,
    clips_after_hook,
    index_of,
    log_folder,
    logs_now,
    scaler_of,
)

Granularity = Literal["per_accumulation_step", "per_mini_batch"]
Target = Literal["gradient"]
Scope = Literal["model"]

# So that a module which keeps its saving throw as a hyper-parameter loads with weights_only=True.
torch.serialization.add_safe_globals([SavingThrow])


class SavingThrowCallback(Callback):
    """Rolls a die for every weight update, or every mini-batch, and scales its gradient.

    With ``per_accumulation_step`` the roll is made in ``on_before_optimizer_step`` and rescales the
    stored gradients in place: after clipping where the Trainer or the module clips, so that the
    optimizer sees s x (clipped gradient). With ``per_mini_batch`` the loss is scaled on its way
    into ``backward``; what ``training_step`` returned and logged stays the true loss. A discard
    leaves the optimizer no gradient at all: weights, moments and step counts stay as they are.

    A roll is a pure function of the seed and of how far training is: ranks agree, resumed runs go
    on with the same sequence, and the global random state is never touched.

    The rolls are in ``rolls.csv`` beside the first logger's files (nowhere, if that has no folder)
    and the newest ones in ``rolls.recent``; ``dice/...`` metrics are logged every
    ``log_every_n_steps``.

    Args:
        throw: Die, threshold and scaling.
        granularity: What one roll belongs to in time: ``"per_accumulation_step"`` (an optimizer
            step) or ``"per_mini_batch"``.
        target: What is scaled: ``"gradient"``, the gradient that the optimizer sees.
        scope: What one roll belongs to in space: ``"model"``, all that the optimizer steps.
        seed: 0 to 2^64 - 1; ``None`` takes the seed of ``seed_everything``, or else draws one,
            shared by all ranks.

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
        seed: int | None = None,
    ) -> None:
        self.throw = check_throw(throw or SavingThrow())
        self.granularity = check_choice("granularity", granularity, get_args(Granularity))
        self.target = check_choice("target", target, get_args(Target))
        self.scope = check_choice("scope", scope, get_args(Scope))
        self.seed = None if seed is None else check_seed(seed)
        self.rolls = RollLog()
        self._given_seed = self.seed
        self._ordinal = 0  # which of the Trainer's saving throws this is
        self._dice: Dice | None = None
        self._windows = Windows()
        self._starts = False
        self._path: Path | None = None
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
            "seed": self.seed,
        }

    @property
    def last_roll(self) -> Roll | None:
        """The newest roll; ``None`` before the first."""
        return None if self._dice is None else self._dice.last_roll

    @property
    @override
    def state_key(self) -> str:
        return self._generate_state_key(**{**self.settings, "seed": self._given_seed})

    @override
    def state_dict(self) -> dict[str, Any]:
        return {"settings": self.settings, **self.rolls.state_dict()}

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        if self._given_seed is None:
            self.seed = state_dict["settings"]["seed"]
        check_resume(self.settings, state_dict["settings"])
        self.rolls.load_state_dict(state_dict)

    @override
    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        if trainer.state.fn == "fit":
            keys = {callback.state_key for callback in _saving_throws(trainer)}
            self.check_states(checkpoint["callbacks"], keys)

    def check_states(self, states: Mapping[str, Any], keys: Collection[str]) -> None:
        """Refuse to go on from the checkpoint of another saving throw.

        Lightning finds states by their key, so one of another saving throw would go unnoticed.

        Args:
            states: The checkpoint's ``callbacks``: states by key.
            keys: The keys of all saving throws in this training.

        Raises:
            SettingError: Naming every setting that differs.
        """
        prefix = f"{type(self).__qualname__}{{"
        rolled = {key: state for key, state in states.items() if key.startswith(prefix)}
        strangers = [state for key, state in rolled.items() if key not in keys]
        if strangers and self.state_key not in rolled:
            check_resume({**self.settings, "seed": self._given_seed}, strangers[0]["settings"])

    # -- the life of a run --------------------------------------------------------------------

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage != "fit":
            return
        siblings = _saving_throws(trainer)
        check_setup(self.throw, [c.granularity for c in siblings], trainer, pl_module)
        self._ordinal = siblings.index(self)
        if self._given_seed is None and (self.seed is None or batches_done(trainer) == 0):
            drawn = int(os.environ.get("PL_GLOBAL_SEED") or secrets.randbits(32))
            self.seed = trainer.strategy.broadcast(drawn)
        check_ranks(self.settings)

    @override
    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        check_fit(trainer)
        caution = advice(self.throw)
        if caution is not None:
            rank_zero_warn(f"{self.throw}: {meaning(self.throw)}; {caution}")
        if self.granularity == "per_mini_batch" and clips_after_hook(trainer, pl_module):
            rank_zero_warn(
                "gradient clipping comes after the rolls of mini-batches, and where it binds it "
                "undoes their size; use granularity='per_accumulation_step', which clips first, "
                "or leave gradient_clip_val out"
            )
        for logger in trainer.loggers:
            logger.log_hyperparams({self._name("saving_throw"): self.settings})

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert self.seed is not None, "setup, or the checkpoint, decides the seed"
        self._dice = Dice(self.throw, self.seed, self.rolls, self._ordinal)
        self._windows = Windows()
        self._starts = True
        folder = log_folder(trainer)
        self._path = folder / f"{self._name('rolls')}.csv" if folder is not None else None
        # Not in setup: a learning-rate search sets callbacks up and then trains without them.
        self._detach()
        if self.granularity == "per_mini_batch":
            self._undo = [intercept(pl_module, "backward", self._backward(trainer, pl_module))]
        elif clips_after_hook(trainer, pl_module):
            clip = "configure_gradient_clipping"
            self._undo = [intercept(pl_module, clip, self._after_clipping(trainer))]

    @override
    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if not self._starts:
            return
        # Not sooner: only here does Lightning's count of batches stand where training goes on.
        self._starts, next_batch = False, batches_done(trainer)
        if next_batch == 0:
            self.rolls.reset()  # what this callback rolled in another training is no part of it
        if self._path is not None:
            self.rolls.open(self._path, next_batch, trainer.global_step)

    @override
    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        # Logging costs as much as a small model's step, so it is left to the steps that are shown.
        if logs_now(trainer) and self.rolls.tally.rolls:
            pl_module.log_dict(self._metrics())
            self.rolls.flush()

    @override
    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        self.rolls.flush()  # what a checkpoint counts is in the file

    @override
    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
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
    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer
    ) -> None:
        if self.granularity == "per_mini_batch":
            index = index_of(optimizer, trainer)
            if self._windows.discarded(trainer.global_step, batches_done(trainer), index):
                scale_gradients(parameters_of(optimizer), None)
        elif not self._undo:
            self._roll_and_scale(trainer, optimizer)

    def _roll_and_scale(self, trainer: Trainer, optimizer: Optimizer) -> None:
        roll = self._roll(trainer, trainer.global_step, index_of(optimizer, trainer))
        scale_gradients(parameters_of(optimizer), roll.scale)

    def _after_clipping(self, trainer: Trainer) -> Layer:
        def clip_then_roll(clip: Layer, optimizer: Optimizer, *args: Any, **kwargs: Any) -> None:
            clip(optimizer, *args, **kwargs)
            self._roll_and_scale(trainer, optimizer)

        return clip_then_roll

    def _backward(self, trainer: Trainer, pl_module: LightningModule) -> Layer:
        waited_for = trainer.world_size > 1 or scaler_of(trainer) is not None

        def roll_then_backward(backward: Layer, loss: Tensor, *args: Any, **kwargs: Any) -> None:
            batch = batches_done(trainer)
            roll = self._roll(trainer, batch)
            self._windows.rolled(batch, roll.discard)
            zeroed = pl_module.parameters() if waited_for else None
            scaled_backward(backward, loss, roll.scale, *args, zeroed=zeroed, **kwargs)

        return roll_then_backward

    def _roll(self, trainer: Trainer, key: int, optimizer: int = 0) -> Roll:
        assert self._dice is not None, "on_train_start comes before every batch"
        step, batch = trainer.global_step, batches_done(trainer)
        return self._dice.roll(key, step=step, batch=batch, optimizer=optimizer)

    # -- helpers ------------------------------------------------------------------------------

    def _detach(self) -> None:
        while self._undo:
            self._undo.pop()()

    def _name(self, stem: str) -> str:
        return stem if self._ordinal == 0 else f"{stem}-{self._ordinal + 1}"

    def _metrics(self) -> dict[str, float]:
        tally, prefix = self.rolls.tally, self._name("dice")
        counts = torch.tensor([tally.counts[outcome] for outcome in OUTCOMES])
        return {
            **{f"{prefix}/{outcome}": float(n) for outcome, n in tally.counts.items()},
            f"{prefix}/mean_scale": tally.mean_scale or 0.0,
            f"{prefix}/luck": float(luck(counts, self.throw.odds())),
        }


def _saving_throws(trainer: Trainer) -> list[SavingThrowCallback]:
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
    return [callback for callback in callbacks if isinstance(callback, SavingThrowCallback)]
