"""The dice of a training in a loop of one's own, and all that can be done with them."""

from __future__ import annotations

import logging
import os
import secrets
import sys
import warnings
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext, suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch.distributed as dist
from torch import Tensor, nn
from torch.optim import Optimizer

from lightning_dice.adapters.clock import Clock
from lightning_dice.adapters.owners import dice_of, forget, note
from lightning_dice.adapters.roll_files import RollFiles
from lightning_dice.adapters.wrappers import refresh, unwrap, unwrap_model
from lightning_dice.choices import Choices
from lightning_dice.intercept import intercept, untraced
from lightning_dice.ranks import check_same, gather, optimizer_settings
from lightning_dice.records import RollLog
from lightning_dice.resuming import check_resume, differences
from lightning_dice.rolling import Rolling
from lightning_dice.rules import Roll, SettingError
from lightning_dice.rules.errors import whole_number
from lightning_dice.rules.words import advice, meaning
from lightning_dice.scope import NameSource, kept_names, parameter_names
from lightning_dice.stages import stages_of

_log = logging.getLogger(__name__)
MOST_SAVING_THROWS = 1000
"""That one training may have; their numbers are a part of the stream of rolls."""
_AGAIN = (
    "the optimizer has these dice already; remove() them first, with "
    "lightning_dice.adapters.torch_loop.detach(optimizer) where nobody has the handle, or take "
    "another ordinal"
)


class DiceHandle:
    """The dice of one training in a loop of one's own; ``attach`` makes it.

    As a context manager it takes the dice away at the end of the block.

    Attributes:
        rolls: Tallies and the newest records of what was rolled.
        seed: The seed in use.
    """

    def __init__(
        self,
        optimizers: Sequence[Optimizer],
        choices: Choices,
        *,
        changes: Sequence[str],
        model: nn.Module | None,
        scaler: Any,
        folder: Path | None,
        ordinal: int,
    ) -> None:
        if not optimizers:
            raise SettingError("optimizer", optimizers, "expected an optimizer, or a list of them")
        if scaler is not None and not callable(getattr(scaler, "step", None)):
            remedy = "expected a gradient scaler, such as torch.amp.GradScaler()"
            raise SettingError("scaler", scaler, remedy)
        self._given = optimizers
        inside = [unwrap(optimizer) for optimizer in optimizers]
        self._optimizers = [optimizer for optimizer, _ in inside]
        brought = next((own for _, own in inside if own is not None), None)
        self._scaler = brought if scaler is None else scaler
        self._choices = choices
        self._changes = changes
        self._ordinal = ordinal
        self._names = _name_source(self._optimizers, model)
        earlier = self._check()
        self._rank, self._processes = _place()
        self.seed = self._agree()
        self.rolls = RollLog()
        written = folder if self._rank == 0 else None
        self._files = RollFiles(self.rolls, written, ordinal, several=choices.scope != "model")
        self._next_batch = 0  # that the file goes on with
        self._clock = Clock()
        self._failure = _last_failure()
        self._undo: list[Callable[[], None]] = []
        for dice in earlier:
            self._take_the_place_of(dice)
        try:
            self._attach()
            self._caution()
        except BaseException:  # nobody has the handle to take them away by
            self._detach()
            raise
        # A loop that ends without a word, or by an error, loses no roll.
        weakref.finalize(self, self.rolls.close)

    # -- for users ----------------------------------------------------------------------------

    @property
    def settings(self) -> dict[str, Any]:
        """Everything that decides the rolls and what they do, as plain values."""
        return self._choices.settings(seed=self.seed)

    @property
    def over(self) -> bool:
        """Whether the training that these dice were for has been given up, as far as can be told.

        Who attaches dice to the same optimizer twice in a row has made a mistake. Who does so after
        some were rolled, or after a cell of a notebook failed, trains anew.
        """
        return bool(self.rolls.recent) or _last_failure() != self._failure

    @property
    def last_roll(self) -> Roll | list[Roll] | None:
        """The newest roll, or with a scope of several slots the list of them; ``None`` before."""
        return self._rolling.last_roll

    @untraced
    def backward(
        self,
        loss: Tensor,
        *args: Any,
        backward: Callable[..., None] = Tensor.backward,
        **kwargs: Any,
    ) -> None:
        """Propagate a mini-batch's loss times what is rolled for it; ``loss`` stays the true one.

        A discarded mini-batch adds nothing, even if its loss is NaN. With
        ``granularity="per_accumulation_step"`` this is ``backward(loss)`` and nothing else.

        Args:
            loss: A scalar, scaled by a gradient scaler or not; ``attach`` has to have the scaler.
            *args: Passed on to ``backward``.
            backward: Propagates it, such as ``fabric.backward``.
            **kwargs: Passed on to ``backward``.

        Example:
            >>> import torch
            >>> from lightning_dice.adapters.torch_loop import attach
            >>> weight = torch.nn.Parameter(torch.ones(1))
            >>> optimizer = torch.optim.SGD([weight], lr=1.0)
            >>> with attach(optimizer, granularity="per_mini_batch", seed=0) as dice:
            ...     dice.backward(8 * weight.sum())
            ...     dice.backward(2 * weight.sum())
            >>> weight.grad  # 1 x 8 + 0.95 x 2
            tensor([9.9000])
        """
        clock = self._clock
        clock.evaluates()
        if self._choices.granularity != "per_mini_batch":
            backward(loss, *args, **kwargs)
            return
        self._open()
        where = {"step": clock.step, "batch": clock.at_hand}
        waited_for = self._processes > 1 or self._scaler is not None
        groups = (group for o in self._optimizers for group in o.param_groups)
        zeroed = [p for group in groups for p in group["params"]] if waited_for else None
        self._rolling.backward(backward, loss, *args, **where, zeroed=zeroed, **kwargs)
        if clock.stepping is not None:
            self._rolling.before_step(clock.stepping, **where)

    def begin_mini_batch(self) -> None:
        """Count a mini-batch, for the column ``batch`` of rolls; ``backward`` does this by itself.

        A loop that says nothing has as many as it has optimizer steps.
        """
        self._clock.begin_mini_batch()

    def state_dict(self) -> dict[str, Any]:
        """Where the dice are, as plain values, to be saved with the model's and the optimizer's."""
        self.flush()  # what a checkpoint counts is in the file
        self._rolling.check()
        place = {"step": self._clock.step, "batch": self._clock.batch}
        return {"settings": self.settings, **place, **self.rolls.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from where ``state_dict`` was.

        Raises:
            SettingError: If it is another state, or naming every setting that differs and is not
                one of ``changes``.
        """
        if "settings" not in state:
            raise SettingError("state", list(state), "expected what state_dict() of dice gave")
        mine = self._choices.settings()
        differ = check_resume(mine, state["settings"], self._changes)
        if mine["seed"] is None and "seed" not in self._changes:
            self.seed = state["settings"]["seed"]
        self.go_on(state["step"], state["batch"])
        if not differ:  # otherwise its counts are of other odds
            self.rolls.load_state_dict(dict(state))

    def go_on(self, step: int, batch: int | None = None) -> None:
        """Roll from here on as if so much had been trained, where no state was kept.

        Args:
            step: Optimizer steps completed.
            batch: Mini-batches completed; ``None`` if nobody counted them.
        """
        self.rolls.reset(since=step)
        self._detach()
        self._clock = Clock(step, batch)
        self._files.again()
        self._next_batch = step if batch is None else batch
        self._attach()

    def flush(self) -> None:
        """Write what was rolled so far, where there is a folder."""
        self._files.write((steps.slots() for steps in self._rolling.steps), self._names)

    def remove(self) -> None:
        """Take the dice away, and leave the optimizer as it was; a second time does no harm."""
        try:
            self.flush()
        finally:
            self._detach()
            self._files.leave()
        self.rolls.close()

    def __reduce__(self) -> tuple[Any, ...]:
        """Be ``None`` in a copy of what keeps this, as copies of optimizers have no dice."""
        return type(None), ()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with suppress(SettingError) if error else nullcontext():  # the error at hand matters more
            self.remove()

    # -- the roll -----------------------------------------------------------------------------

    def _around_step(self, index: int, inner: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if self._clock.stepping is not None and not self._clock.halfway:
            return inner(*args, **kwargs)  # in a scaler's step, a class's super().step(), a stage
        self._before(index, closure=any(map(callable, (*args, *kwargs.values()))))
        return self._make(inner, *args, **kwargs)

    def _around_first(
        self, index: int, inner: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> Any:
        """Begin a step in stages, which is begun again if the last one was not ended."""
        clock = self._clock
        if clock.stepping is not None and not clock.halfway:
            return inner(*args, **kwargs)
        self._before(index, halfway=True)
        try:
            return inner(*args, **kwargs)
        except BaseException:
            self._after(made=False)
            raise

    def _around_last(self, index: int, inner: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        clock = self._clock
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
        clock = self._clock
        self._open()
        clock.begin(index, halfway=halfway)
        batch = clock.batch if closure and clock.batch is not None else clock.at_hand
        self._rolling.before_step(index, step=clock.step, batch=batch)

    @untraced
    def _after(self, made: bool) -> None:
        self._rolling.forget()  # what a scaler left out
        self._clock.end(made)  # a step that raised may be tried again, and has the same roll then

    # -- helpers ------------------------------------------------------------------------------

    def _check(self) -> list[DiceHandle]:
        """Refuse what cannot be rolled for, and return the dice whose place these take."""
        choices = self._choices
        allowed = f"expected a whole number from 0 to {MOST_SAVING_THROWS - 1}"
        if not 0 <= whole_number("ordinal", self._ordinal, allowed) < MOST_SAVING_THROWS:
            raise SettingError("ordinal", self._ordinal, allowed)
        if len(self._optimizers) > 1 and choices.granularity == "per_mini_batch":
            raise SettingError(
                "granularity",
                "per_mini_batch",
                "of several optimizers it is not known whose mini-batch a loss is; attach to each "
                "of them, with ordinal=0, 1, ...",
            )
        earlier: list[DiceHandle] = []
        for index, optimizer in enumerate(self._optimizers):
            there = dice_of(optimizer)
            same = there.pop(self._ordinal, None)
            if (same is not None and not same.over) or optimizer in self._optimizers[:index]:
                raise SettingError("ordinal", self._ordinal, _AGAIN)
            if same is not None and same not in earlier:
                earlier.append(same)
            if any(dice._choices.granularity != choices.granularity for dice in there.values()):
                twice = "the optimizer has dice of the other kind; both would roll for one gradient"
                raise SettingError("granularity", choices.granularity, f"{twice}; keep one")
        given = next((s for s in ("include", "exclude") if getattr(choices, s)), None)
        groups = (group for optimizer in self._optimizers for group in optimizer.param_groups)
        names = self._names()
        if given and not any(p in names for group in groups for p in group["params"]):
            raise SettingError(
                given,
                getattr(choices, given),
                "the optimizer's parameters have no names; give model= as it is trained, or make "
                "the optimizer from model.named_parameters()",
            )
        choices.chosen.check(names.values())
        return earlier

    def _take_the_place_of(self, earlier: DiceHandle) -> None:
        """Remove dice of a training that is over, as it is where its cell is run again."""
        theirs = earlier.settings
        differ = differences(self._choices.settings(), theirs)
        count = earlier.rolls.tally.rolls
        with suppress(SettingError):  # their file matters no more than their training
            earlier.remove()
        if differ and not self._rank:
            had = ", ".join(f"{name}={theirs[name]!r}" for name in differ)
            warnings.warn(
                f"these dice take the place of those with {had}, which rolled {count} times; "
                "attach with ordinal=1 to have both",
                stacklevel=4,
            )

    def _agree(self) -> int:
        """Refuse processes that differ, and share one seed."""
        drawn = int(os.environ.get("PL_GLOBAL_SEED") or secrets.randbits(32))
        mine = {**self._choices.settings(), "changes": self._changes, "ordinal": self._ordinal}
        ranks = gather((mine, optimizer_settings(self._optimizers), drawn), self._processes)
        check_same([own for own, _, _ in ranks])
        check_same([made for _, made, _ in ranks])
        return ranks[0][2] if self._choices.seed is None else self._choices.seed

    def _attach(self) -> None:
        apart = self._choices.ranks == "independent"
        replica = (self._rank, self._processes) if apart else (0, 1)
        self._rolling = Rolling(
            self._choices, self.seed, self.rolls, ordinal=self._ordinal, replica=replica
        )
        self._rolling.attach(self._optimizers, self._names)
        for index, optimizer in enumerate(self._optimizers):
            around = partial(self._around_step, index)
            self._undo.append(intercept(optimizer, "step", around))
            if stages := stages_of(optimizer):
                first, last = partial(self._around_first, index), partial(self._around_last, index)
                self._undo.append(intercept(optimizer, stages.first, first))
                self._undo.append(intercept(optimizer, stages.last, last))
            note(optimizer, self._ordinal, self)
        if self._scaler is not None:
            self._undo.append(intercept(self._scaler, "step", self._around_scaler))
        for wrapper in self._given:
            refresh(wrapper)

    def _detach(self) -> None:
        while self._undo:
            self._undo.pop()()
        for optimizer in self._optimizers:
            forget(optimizer, self._ordinal, self)
        self._rolling.detach()

    def _caution(self) -> None:
        """Say at the start what to expect, once for all processes."""
        if self._rank:
            return
        throw, steps = self._choices.throw, self._rolling.steps
        caution = advice(throw)
        if caution is not None:
            warnings.warn(f"{throw}: {meaning(throw)}; {caution}", stacklevel=4)
        if not any(own.slots() for own in steps):
            nothing = "the optimizer has no parameters that are rolled for, so that nothing will be"
            warnings.warn(f"{nothing}; include some that it has", stacklevel=4)
        for own in steps:
            if own.copies:
                _log.info(own.note)

    def _open(self) -> None:
        """Begin to write where training goes on, which is known with the first roll."""
        if self._files.begin(self._next_batch, self._clock.step):
            self.flush()


def _name_source(optimizers: Sequence[Optimizer], model: nn.Module | None) -> NameSource:
    """Give the names that a model gives to its parameters, or else those that optimizers keep."""
    if model is None:
        return partial(kept_names, optimizers)
    return lambda: parameter_names(unwrap_model(model))


def _last_failure() -> int:
    """Tell apart the errors that ended what was typed, which interactive Python keeps."""
    return id(getattr(sys, "last_traceback", None))


def _place() -> tuple[int, int]:
    """The rank of this process, and how many there are."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1
