"""The saving throw in a ``transformers.Trainer``, as a callback and as a mix-in."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.optim import Optimizer
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import CallbackHandler, ExportableState
from typing_extensions import override

from lightning_dice.adapters.admission import check_ordinal
from lightning_dice.adapters.handle import DiceHandle
from lightning_dice.adapters.wrappers import unwrap
from lightning_dice.choices import Choices, Granularity, Ranks, check_throw
from lightning_dice.intercept import intercept
from lightning_dice.metrics.logged import dice_metrics
from lightning_dice.records import RollLog
from lightning_dice.resuming import check_changes
from lightning_dice.rules import Roll, SavingThrow, SettingError, ThrowSettings
from lightning_dice.rules.draws import Draws
from lightning_dice.rules.roller import check_seed
from lightning_dice.scope import Scope
from lightning_dice.states import entries
from lightning_dice.steps import Target

# They step while gradients are computed, parameter by parameter, and `step` does nothing.
_FUSED_WITH_BACKWARD = ("LayerWiseDummyOptimizer", "Lomo", "AdaLomo")


class SavingThrowTrainerCallback(TrainerCallback, ExportableState):
    """Rolls for every optimizer step, or every mini-batch, of a ``transformers.Trainer``.

    The roll acts inside the optimizer's step, after the Trainer has clipped, under accelerate's
    gradient scaler and accumulation, DDP and FSDP. The Trainer's ``grad_norm`` is of the gradients
    before the roll. A roll belongs to an optimizer step as ``state.global_step`` counts them, and a
    resumed training goes on with the same sequence.

    Rolls are in ``rolls.csv`` in the Trainer's ``output_dir``, the newest ones in
    ``callback.rolls.recent``. What the Trainer logs has ``dice/...`` too: in
    ``state.log_history`` and in what is printed. Callbacks that came before this one, as those for
    TensorBoard and W&B have, see them with ``DiceTrainerMixin``.

    What checkpoints keep of the dice is restored into this callback. With
    ``restore_callback_states_from_checkpoint=True`` the Trainer makes a new one instead, with the
    checkpoint's settings, and this one is left unused; there is no need for it.

    Args:
        throw: Die, threshold and scaling, or these settings by name as ``throw.settings()`` gives
            them.
        granularity: What one roll belongs to in time: ``"per_accumulation_step"`` (an optimizer
            step) or ``"per_mini_batch"``, which needs a Trainer with ``DiceTrainerMixin``.
        target: As in ``SavingThrowCallback``, as are the following.
        scope: What one roll belongs to in space.
        include: Patterns of parameter names that are rolled for.
        exclude: Patterns of parameter names that are not.
        ranks: With ``per_mini_batch`` and several processes: one roll that is ``"shared"``, or an
            ``"independent"`` one for each process.
        draws: How naturals come up.
        seed: 0 to 2^64 - 1; ``None`` takes the Trainer's ``args.seed``.
        changes: Names of settings that may differ from those of the checkpoint.
        ordinal: Tells apart several of these callbacks in one Trainer: 0, 1, ...

    Raises:
        SettingError: If a value is outside what is allowed, or, when training starts, if the
            Trainer or the checkpoint does not go with it; the message names the remedy.

    Example:
        >>> throw = SavingThrow("d20", threshold=10)
        >>> callback = SavingThrowTrainerCallback(throw, target="update")
        >>> callback.state()["args"]["target"]
        'update'
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
        changes: Sequence[str] = (),
        ordinal: int = 0,
    ) -> None:
        throw = SavingThrow() if throw is None else check_throw(throw)
        self.choices = Choices(
            throw,
            granularity=granularity,
            target=target,
            scope=scope,
            include=include,
            exclude=exclude,
            ranks=ranks,
            draws=draws,
            seed=seed,
        )
        self.choices.check()
        self.changes = check_changes(changes, self.choices.settings())
        self.ordinal = check_ordinal(ordinal)
        self.dice: dict[str, Any] = {}  # where they were, of a callback that the Trainer restored
        self._handle: DiceHandle | None = None
        self._losses = 0  # that were rolled for in this training

    # -- what it is ---------------------------------------------------------------------------

    @property
    def rolls(self) -> RollLog:
        """Tallies and the newest records of what was rolled."""
        return RollLog() if self._handle is None else self._handle.rolls

    @property
    def settings(self) -> dict[str, Any]:
        """Everything that decides the rolls and what they do, as plain values."""
        return self.choices.settings() if self._handle is None else self._handle.settings

    @property
    def last_roll(self) -> Roll | list[Roll] | None:
        """The newest roll, or with a scope of several slots the list of them; ``None`` before."""
        return None if self._handle is None else self._handle.last_roll

    @override
    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps: how to make this callback, and where its dice are."""
        settings = self.settings
        throw = {name: settings.pop(name) for name in self.choices.throw.settings()}
        args = {"throw": throw, **settings, "changes": self.changes, "ordinal": self.ordinal}
        dice = self.dice if self._handle is None else self._handle.state_dict()
        return {"args": args, "attributes": {"dice": dice}}

    # -- the life of a training ---------------------------------------------------------------

    @override
    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        optimizer: Optimizer = kwargs["optimizer"]
        self.remove()  # of a training that failed
        self._losses = 0
        self._check(args, optimizer)
        kept = self._kept(state)
        seed = args.seed
        if kept and "seed" not in self.changes:
            seed = entries(entries(kept, "settings")["settings"], "seed")["seed"]
        self._handle = DiceHandle(
            [optimizer],
            self.choices if self.choices.seed is not None else replace(self.choices, seed=seed),
            changes=self.changes,
            model=kwargs["model"],
            scaler=None,
            folder=None if args.output_dir is None else Path(args.output_dir),
            ordinal=self.ordinal,
        )
        if kept:
            self._handle.load_state_dict(kept)
        elif state.global_step:  # the checkpoint was made without dice
            self._handle.go_on(state.global_step)

    @override
    def on_substep_end(self, *args: Any, **kwargs: Any) -> None:
        self._count()

    @override
    def on_pre_optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        self._count()

    @override
    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        if metrics := self.metrics(kwargs["logs"]):
            kwargs["logs"].update(metrics)
            newest = state.log_history[-1] if state.log_history else {}
            if newest.get("step") == state.global_step:
                newest.update(metrics)  # it has a copy already

    @override
    def on_train_end(self, *args: Any, **kwargs: Any) -> None:
        self.remove()

    def remove(self) -> None:
        """Take the dice off the optimizer, which a training that was interrupted leaves there.

        A training that ends does this, as do the next one with this callback, and any with
        ``DiceTrainerMixin``.
        """
        if self._handle is not None:
            self._handle.remove()

    # -- for DiceTrainerMixin -----------------------------------------------------------------

    def backward(self, backward: Callable[..., None], loss: Tensor, **kwargs: Any) -> None:
        """Propagate a loss times what is rolled for its mini-batch."""
        if self._handle is None or self.choices.granularity != "per_mini_batch":
            backward(loss, **kwargs)
        else:
            self._losses += 1
            self._handle.backward(loss, backward=backward, **kwargs)

    def metrics(self, logs: Mapping[str, float]) -> dict[str, float]:
        """What belongs beside ``logs``: counts, mean scale and luck, if they are of training."""
        if self._handle is None or "loss" not in logs or not self.rolls.tally.rolls:
            return {}
        self._handle.flush()
        prefix = "dice" if self.ordinal == 0 else f"dice-{self.ordinal + 1}"
        return dice_metrics(self.rolls.tally, self.choices.throw.odds(), prefix)

    # -- helpers ------------------------------------------------------------------------------

    def _count(self) -> None:
        assert self._handle is not None, "on_train_begin comes before every mini-batch"
        if self.choices.granularity == "per_accumulation_step":
            self._handle.begin_mini_batch()
        elif not self._losses:
            raise SettingError(
                "granularity",
                "per_mini_batch",
                "a callback does not come by losses; train with DiceTrainerMixin: class "
                "DiceTrainer(DiceTrainerMixin, Trainer)",
            )

    def _kept(self, state: TrainerState) -> dict[str, Any]:
        """What the checkpoint has of these dice; nothing, if training begins."""
        states: Any = state.stateful_callbacks or {}
        own = states.get(type(self).__name__, []) if state.global_step else []
        found: dict[str, Any] = {}
        for one in own if isinstance(own, list) else [own]:
            kept = entries(one, "args", "attributes")
            args = entries(kept["args"], "ordinal", where="state.args")
            attributes = entries(kept["attributes"], "dice", where="state.attributes")
            if args["ordinal"] == self.ordinal:
                found = attributes["dice"]  # of several, each save appends to the list
        return found

    def _check(self, args: TrainingArguments, optimizer: Optimizer) -> None:
        kind = type(unwrap(optimizer).optimizer).__name__
        if kind in _FUSED_WITH_BACKWARD:
            remedy = "it steps while gradients are computed, before a roll; choose another optim="
            raise SettingError("optimizer", kind, remedy)
        if self.choices.granularity == "per_mini_batch" and (args.max_grad_norm or 0) > 0:
            warnings.warn(
                "gradient clipping comes after the rolls of mini-batches, and where it binds it "
                "undoes their size; use granularity='per_accumulation_step', which clips first, "
                "or max_grad_norm=0",
                stacklevel=2,
            )


class DiceTrainerMixin:
    """Lets a Trainer roll for mini-batches, and shows rolls to all that log.

    ``class DiceTrainer(DiceTrainerMixin, Trainer)`` takes what ``Trainer`` takes. A mini-batch's
    loss is scaled on its way into ``accelerator.backward``, after the Trainer has divided it by
    ``num_items_in_batch`` or by accumulation steps: whatever the model, ``compute_loss`` or
    ``compute_loss_func`` do there stays as it is, and what is logged is the true loss.

    Args:
        *args: As of the Trainer.
        saving_throw: The saving throw of each mini-batch, or its settings by name, unless a
            ``SavingThrowTrainerCallback`` is among the callbacks.
        dice_seed: As ``seed`` of that callback.
        **kwargs: As of the Trainer.

    Raises:
        SettingError: If ``saving_throw`` is given and a callback rolls another one, or for
            optimizer steps.

    Example:
        >>> from transformers import Trainer
        >>> class DiceTrainer(DiceTrainerMixin, Trainer):
        ...     pass
    """

    callback_handler: CallbackHandler
    accelerator: Any

    def __init__(
        self,
        *args: Any,
        saving_throw: SavingThrow | ThrowSettings | None = None,
        dice_seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        if saving_throw is None:
            return
        saving_throw = check_throw(saving_throw)
        dice_seed = None if dice_seed is None else check_seed(dice_seed, "dice_seed")
        if any(dice.choices.granularity != "per_mini_batch" for dice in self._dice):
            remedy = "both at once would roll twice for one gradient; keep the callback or this"
            raise SettingError("saving_throw", str(saving_throw), remedy)
        if any(dice.choices.throw != saving_throw for dice in self._dice):
            remedy = f"the callback rolls {self._dice[0].choices.throw}; keep the callback or this"
            raise SettingError("saving_throw", str(saving_throw), remedy)
        if not self._dice:
            self.callback_handler.callbacks.append(
                SavingThrowTrainerCallback(
                    saving_throw, granularity="per_mini_batch", seed=dice_seed
                )
            )

    def create_accelerator_and_postprocess(self) -> None:
        """Make the accelerator, whose backward passes are rolled for."""
        super().create_accelerator_and_postprocess()  # type: ignore[misc]
        intercept(self.accelerator, "backward", self._backward)

    def train(self, *args: Any, **kwargs: Any) -> Any:
        """Train, as the Trainer does, and leave no dice on the optimizer."""
        try:
            return super().train(*args, **kwargs)  # type: ignore[misc]
        finally:
            for dice in self._dice:
                dice.remove()

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """Log, for all callbacks, what the Trainer logs and the rolls."""
        for dice in self._dice:
            logs |= dice.metrics(logs)
        super().log(logs, *args, **kwargs)  # type: ignore[misc]

    @property
    def _dice(self) -> list[SavingThrowTrainerCallback]:
        callbacks = self.callback_handler.callbacks
        return [one for one in callbacks if isinstance(one, SavingThrowTrainerCallback)]

    def _backward(self, backward: Callable[..., None], loss: Tensor, **kwargs: Any) -> None:
        for dice in self._dice:
            backward = partial(dice.backward, backward)
        backward(loss, **kwargs)
