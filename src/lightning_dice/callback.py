"""The saving throw as a callback for any Lightning Trainer."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from copy import deepcopy
from functools import partial
from typing import Any, Self

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from torch.optim import Optimizer
from typing_extensions import override

from lightning_dice.attachment import Attachment
from lightning_dice.checks import check_setup
from lightning_dice.choices import Choices, Granularity, Ranks, check_throw
from lightning_dice.described import describe_dice
from lightning_dice.intercept import untraced
from lightning_dice.logged_settings import LoggedSettings
from lightning_dice.metrics.logged import dice_metrics
from lightning_dice.ranks import check_same, gather, optimizer_settings, training_settings
from lightning_dice.records import RollLog, RollRecord
from lightning_dice.resuming import check_changes, check_resume, find_state
from lightning_dice.roll_call import absent, check_present
from lightning_dice.rules import Roll, SavingThrow, SettingError, ThrowSettings
from lightning_dice.rules.draws import Draws
from lightning_dice.rules.roller import check_seed
from lightning_dice.rules.words import advice, meaning
from lightning_dice.scope import Scope, parameter_names
from lightning_dice.spawned import Address, send
from lightning_dice.states import entries, read_number
from lightning_dice.steps import Target
from lightning_dice.trained_task import describe_training
from lightning_dice.trainer_state import (
    batches_done,
    clips,
    log_address,
    log_at_batch_end,
    logs_now,
)
from lightning_dice.training_files import TrainingFiles, local_folder, numbered


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

    The rolls are in ``rolls.csv`` beside the first logger's files, and ``saving_throw.json``
    describes them; nothing is written if that logger has no folder on this machine. The newest
    rolls are in ``rolls.recent``. ``dice/...`` metrics are logged every ``log_every_n_steps``.

    The callback works in the Trainers of ``lightning`` and of ``pytorch_lightning``. A copy of it
    has its settings and counts, and takes no part in its training.

    Args:
        throw: Die, threshold and scaling: a ``SavingThrow``, or its settings by name.
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
        throw: SavingThrow | ThrowSettings | None = None,
        *,
        granularity: Granularity = "per_accumulation_step",
        target: Target = "gradient",
        scope: Scope = "model",
        include: Sequence[str] | None = None,
        exclude: Sequence[str] | None = None,
        ranks: Ranks = "shared",
        draws: Draws = "independent",
        seed: int | None = None,
        skip_discarded: bool = False,
        changes: Sequence[str] = (),
    ) -> None:
        _join_pytorch_lightning()
        self.choices = Choices(
            SavingThrow() if throw is None else check_throw(throw),
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
        self._ordinal = 0  # which of the Trainer's saving throws this is
        self._changed = False  # from what the checkpoint had
        self._last_roll: Roll | list[Roll] | None = None  # of a training in other processes
        self._address = Address(self)
        self._let_go()

    def _let_go(self) -> None:
        """Hold nothing of any training."""
        self._attachment: Attachment | None = None
        self._files: TrainingFiles | None = None
        self._logged: LoggedSettings | None = None
        self._agreed = False  # what all ranks have
        self._starts = False  # with the next mini-batch

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
        return self._last_roll if self._attachment is None else self._attachment.last_roll

    def __repr__(self) -> str:
        chosen = self.choices
        return f"{type(self).__name__}({chosen.throw}; {chosen.granularity}, {chosen.target})"

    def __getstate__(self) -> dict[str, Any]:
        state = vars(self).copy()
        state["_last_roll"] = self.last_roll
        for name in ("_attachment", "_files", "_logged", "_agreed", "_starts"):
            del state[name]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._let_go()

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        copy = memo[id(self)] = type(self).__new__(type(self))
        copy.__setstate__(deepcopy(self.__getstate__(), memo))
        copy._address = Address(copy)
        return copy

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
        given = entries(state_dict, "settings")
        theirs = entries(given["settings"], "seed", where="state.settings")
        if self.choices.seed is None and "seed" not in self.changes:
            self.seed = check_seed(theirs["seed"], "state.settings.seed")
        differ = check_resume(self.settings, theirs, self.changes)
        self._changed = bool(differ)
        # Its counts are of other odds where settings differ.
        self.rolls.load_state_dict(given, counts=not differ)
        if not differ:
            self.left_out = read_number(given.get("left_out", 0), "state.left_out")

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
        if self.choices.seed is None and batches_done(trainer) == 0:
            self.seed = None
        # First of all: a rank that stops where others go on leaves them waiting.
        self._agreed = not absent(self._purpose("setup"), trainer.world_size, seconds=5)
        if self._agreed:
            self._agree(trainer)
        granularities = [callback.choices.granularity for callback in siblings]
        check_setup(self.choices, granularities, trainer, pl_module)

    def _purpose(self, stage: str) -> str:
        return f"{stage} of saving throw {self._ordinal}"

    def _agree(self, trainer: Trainer) -> None:
        """Refuse ranks that differ, and take the seed that all of them share."""
        drawn = int(os.environ.get("PL_GLOBAL_SEED") or secrets.randbits(32))
        mine = {
            **self.choices.settings(),
            "skip_discarded": self.choices.skip_discarded,
            "changes": self.changes,
        }
        ranks = gather((mine, training_settings(trainer), drawn), trainer.world_size)
        check_same([own for own, _, _ in ranks])
        check_same([training for _, training, _ in ranks])
        if self.seed is None:
            self.seed = ranks[0][2]

    @override
    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._detach()
        # All ranks have just set up their model together, so that none of them comes much later.
        what, purpose = type(self).__name__, self._purpose("start")
        check_present("callbacks", what, purpose, trainer.world_size)
        if not self._agreed:
            self._agree(trainer)
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
        name, otherwise = (numbered(stem, self._ordinal) for stem in ("saving_throw", "dice"))
        self._logged = LoggedSettings(trainer.loggers, name, otherwise, self.settings)

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert self.seed is not None, "setup, or the checkpoint, decides the seed"
        # Not in setup: a learning-rate search sets callbacks up and then trains without them.
        self._attachment = Attachment(
            trainer,
            pl_module,
            self.choices,
            self.seed,
            self.rolls,
            self._ordinal,
            skips=self._count_skipped,
        )
        self._starts = True
        for notice in self._attachment.notices():
            rank_zero_info(notice)

    @override
    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if not self._attached:
            return
        self._attached.refresh()
        if self._starts:
            # Not sooner: only here does Lightning's count of batches stand where training goes on,
            # and everybody who logs hyper-parameters at the start has done so.
            self._starts = False
            self._count_from_here(trainer)
            self._open(trainer, pl_module)
            if self._logged is not None:
                self._logged.finish()

    def _count_from_here(self, trainer: Trainer) -> None:
        """Forget rolls that are not part of this training, or were made with other odds."""
        if batches_done(trainer) == 0:
            self.rolls.reset()
            self.left_out = 0
        if self._changed:
            self._changed = False
            self.rolls.reset(since=trainer.global_step)

    def _open(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin to write beside the first logger's files, if these are on this machine."""
        address = log_address(trainer)
        folder = None if address is None else local_folder(address)
        if folder is not None:
            several = self.choices.scope != "model"
            self._files = TrainingFiles(folder, self._ordinal, several, self.rolls)
            self._files.open(batches_done(trainer), trainer.global_step)
            self._write(pl_module)
            self._describe(trainer, pl_module, "running")
        elif address is not None:
            rank_zero_warn(
                f"the first logger keeps its files at {address}, which is no folder of this "
                "machine, so rolls are not written; rolls.recent has the newest ones. Put a logger "
                "with a local folder first, such as CSVLogger('logs')"
            )

    @override
    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        if not self._attached:
            return
        # A roll is for this mini-batch, also where a gradient scaler skipped its step.
        self._attached.forget()
        # Logging costs as much as a small model's step, so it is left to the steps that are shown.
        if logs_now(trainer) and self.rolls.tally.rolls:
            odds = self.throw.odds()
            prefix = numbered("dice", self._ordinal)
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
        if self._attached:
            self._describe(trainer, pl_module, "running")

    @override
    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._logged is not None:
            self._logged.finish()
        self._write(pl_module)
        self._describe(trainer, pl_module, "finished")
        self.rolls.close()
        send(trainer, self._address, self._sent())

    @override
    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        asked = isinstance(exception, KeyboardInterrupt | SystemExit)
        with suppress(SettingError):  # the error at hand matters more
            self.rolls.close()
            self._describe(trainer, pl_module, "interrupted" if asked else "failed", exception)
        self._detach()

    @override
    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._detach()
        self.rolls.close()

    def receive(self, state: Mapping[str, Any]) -> None:
        """Take over what a copy of this callback has rolled in another process."""
        self._attachment = None
        self.seed, self.left_out, self._last_roll = (
            state[name] for name in ("seed", "left_out", "last_roll")
        )
        self.rolls.load_state_dict(state["rolls"])
        self.rolls.recent.clear()
        self.rolls.recent.extend(map(RollRecord._make, state["recent"]))

    def _sent(self) -> dict[str, Any]:
        return {
            "seed": self.seed,
            "left_out": self.left_out,
            "last_roll": self.last_roll,
            "rolls": self.rolls.state_dict(),
            "recent": [tuple(record) for record in self.rolls.recent],
        }

    # -- the roll -----------------------------------------------------------------------------

    @override
    @untraced
    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer
    ) -> None:
        if self._attached:
            self._attached.before_step(optimizer)

    # -- helpers ------------------------------------------------------------------------------

    @property
    def _attached(self) -> Attachment | None:
        """The dice of the training at hand; ``None`` before and after, when hooks may come too."""
        there = self._attachment
        return there if there is not None and there.attached else None

    def _count_skipped(self) -> None:
        self.left_out += 1

    def _detach(self) -> None:
        self._files = None  # a checkpoint that is saved later would find no slots
        if self._attachment is not None:
            self._attachment.detach()
        if self._logged is not None:
            self._logged.remove()
            self._logged = None

    def _write(self, pl_module: LightningModule) -> None:
        if self._files is not None and self._attached:
            self._files.write(self._attached.slots(), partial(parameter_names, pl_module))

    def _describe(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        status: str,
        error: BaseException | None = None,
    ) -> None:
        if self._files is not None:
            description = {
                **describe_training(trainer, pl_module),
                "seed": self.seed,
                **describe_dice(self.throw, self.settings, self.rolls),
            }
            self._files.describe(status, description, error)


def _join_pytorch_lightning() -> None:
    """Let the class count as a callback of ``pytorch_lightning`` too, where that is imported.

    It is the same code under its older name. Its Trainer takes any object for a callback in a list,
    and a single one only if it is an instance of its own class.
    """
    base = getattr(sys.modules.get("pytorch_lightning"), "Callback", None)
    if base is not None and not issubclass(SavingThrowCallback, base):
        SavingThrowCallback.__bases__ = (*SavingThrowCallback.__bases__, base)


def _saving_throws(trainer: Trainer) -> list[SavingThrowCallback]:
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
    return [callback for callback in callbacks if isinstance(callback, SavingThrowCallback)]
