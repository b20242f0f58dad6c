"""The dice of a training in a loop of one's own, and all that can be done with them."""

from __future__ import annotations

import logging
import sys
import warnings
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext, suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from torch import Tensor, nn
from torch.optim import Optimizer

from lightning_dice.adapters.admission import agree, check, check_ordinal, last_failure, place
from lightning_dice.adapters.clock import Clock
from lightning_dice.adapters.driver import Driver
from lightning_dice.adapters.owners import forget, note
from lightning_dice.adapters.roll_files import RollFiles
from lightning_dice.adapters.stand_ins import StandIns
from lightning_dice.adapters.wrappers import unwrap, unwrap_model
from lightning_dice.choices import Choices
from lightning_dice.described import describe_optimizers, describe_versions
from lightning_dice.intercept import untraced
from lightning_dice.records import RollLog
from lightning_dice.response import gradient_notice
from lightning_dice.resuming import check_resume, differences
from lightning_dice.rolling import Rolling
from lightning_dice.rules import Roll, SettingError
from lightning_dice.rules.errors import tried
from lightning_dice.rules.roller import check_seed
from lightning_dice.rules.words import advice, meaning
from lightning_dice.scope import NameSource, kept_names, parameter_names
from lightning_dice.states import entries, read_counts, read_number

_log = logging.getLogger(__name__)


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
        if scaler is not None and not callable(tried(lambda given: given.step, scaler)):
            remedy = "expected a gradient scaler, such as torch.amp.GradScaler()"
            raise SettingError("scaler", scaler, remedy)
        self._given = optimizers
        inside = [unwrap(optimizer) for optimizer in optimizers]
        self._optimizers = [optimizer for optimizer, _ in inside]
        brought = next((own for _, own in inside if own is not None), None)
        self._scaler = brought if scaler is None else scaler
        self._choices = choices
        self._changes = changes
        ordinal = self._ordinal = check_ordinal(ordinal)
        if model is not None and not isinstance(model, nn.Module):
            raise SettingError("model", model, "expected the torch.nn.Module that is trained")
        self._model = None if model is None else type(unwrap_model(model)).__name__
        self._names = _name_source(self._optimizers, model)
        earlier = check(self._optimizers, choices, ordinal, self._names)
        self._rank, self._processes = place()
        self.seed = agree(self._optimizers, choices, changes, ordinal, self._processes)
        self.rolls = RollLog()
        written = folder if self._rank == 0 else None
        self._files = RollFiles(
            self.rolls, written, self._ordinal, several=choices.scope != "model"
        )
        self._next_batch = 0  # that the file goes on with
        self._clock = Clock()
        self._stand_ins = StandIns()
        self._failure = last_failure()
        for dice in earlier:
            self._take_the_place_of(dice)
        try:
            self._attach()
            self._caution()
        except BaseException:  # nobody has the handle to take them away by
            self._detach()
            raise
        # A loop that ends without a word, or by an error, loses no roll.
        weakref.finalize(self, self._files.end)

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
        return bool(self.rolls.recent) or last_failure() != self._failure

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

        A discarded mini-batch adds nothing, even if its loss is NaN; where there are no gradients
        yet, they are zeros until the step, so that the loop can clip or print them. With
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
        zeroed = self._parameters() if waited_for else None
        self._stand_ins.take_back()
        scale = self._rolling.backward(backward, loss, *args, **where, zeroed=zeroed, **kwargs)
        if scale is None:
            self._stand_ins.give(self._parameters())
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
        self._files.describe("running")
        self._rolling.check()
        place = {"step": self._clock.step, "batch": self._clock.batch}
        return {"settings": self.settings, **place, **self.rolls.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from where ``state_dict`` was.

        Raises:
            SettingError: If it is another state, or naming every setting that differs and is not
                one of ``changes``.
        """
        given = entries(state, "settings", "step", "batch", "counts")
        theirs = entries(given["settings"], "seed", where="state.settings")
        mine = self._choices.settings()
        differ = check_resume(mine, theirs, self._changes)
        read_counts(given)  # refused now, before anything is changed
        step, batch = _place(given["step"], given["batch"])
        seed = check_seed(theirs["seed"], "state.settings.seed")
        if mine["seed"] is None and "seed" not in self._changes:
            self.seed = seed
        self.go_on(step, batch)
        # Its counts are of other odds where settings differ.
        self.rolls.load_state_dict(given, counts=not differ)

    def go_on(self, step: int, batch: int | None = None) -> None:
        """Roll from here on as if so much had been trained, where no state was kept.

        Args:
            step: Optimizer steps completed.
            batch: Mini-batches completed; ``None`` if nobody counted them.

        Raises:
            SettingError: If either is not a whole number, 0 or more.
        """
        step, batch = _place(step, batch)
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
        """Take the dice away, and leave the optimizer as it was; a second time does no harm.

        While an error is handled, the training is described as one that it ended.
        """
        try:
            self.flush()
            self._files.describe(*_end_of_training())
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

    # -- helpers ------------------------------------------------------------------------------

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

    def _parameters(self) -> list[Tensor]:
        groups = (group for optimizer in self._optimizers for group in optimizer.param_groups)
        return [parameter for group in groups for parameter in group["params"]]

    def _attach(self) -> None:
        apart = self._choices.ranks == "independent"
        replica = (self._rank, self._processes) if apart else (0, 1)
        self._rolling = Rolling(
            self._choices, self.seed, self.rolls, ordinal=self._ordinal, replica=replica
        )
        self._driver = Driver(
            self._given, self._optimizers, self._scaler, self._rolling, self._clock, self._open
        )
        self._rolling.attach(self._optimizers, self._names, lambda: self._clock.coming)
        self._driver.attach()
        self._files.about(self._choices.throw, self.settings, self._facts())
        for optimizer in self._optimizers:
            note(optimizer, self._ordinal, self)

    def _detach(self) -> None:
        self._stand_ins.take_back()
        self._driver.remove()
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
        notices = (gradient_notice(own.optimizer, self._choices) for own in steps if own.slots())
        for notice in dict.fromkeys(notices):
            if notice is not None:
                _log.warning(notice)
        for own in steps:
            if own.copies:
                _log.info(own.note)

    def _facts(self) -> dict[str, Any]:
        """Return what is trained, as plain values."""
        optimizers = describe_optimizers(self._optimizers)
        names = ", ".join(dict.fromkeys(one["name"] for one in optimizers))
        return {
            "task": {"model": self._model, "data": None, "optimizer": names},
            "optimizers": optimizers,
            "metrics": {},
            "versions": describe_versions(("torch", "numpy")),
        }

    def _open(self) -> None:
        """Begin to write where training goes on, which is known with the first roll."""
        if self._files.begin(self._next_batch, self._clock.step):
            self.flush()


def _place(step: object, batch: object) -> tuple[int, int | None]:
    return read_number(step, "step"), None if batch is None else read_number(batch, "batch")


def _end_of_training() -> tuple[str, BaseException | None]:
    """Return how a training ends, and the error that ends it."""
    error = sys.exception()
    asked = isinstance(error, KeyboardInterrupt | SystemExit)
    return ("finished" if error is None else "interrupted" if asked else "failed"), error


def _name_source(optimizers: Sequence[Optimizer], model: nn.Module | None) -> NameSource:
    """Give the names that a model gives to its parameters, or else those that optimizers keep."""
    if model is None:
        return partial(kept_names, optimizers)
    return lambda: parameter_names(unwrap_model(model))
