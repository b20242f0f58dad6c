"""The dice of a training in a loop of one's own, and all that can be done with them."""

from __future__ import annotations

import gc
import logging
import os
import secrets
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

from lightning_dice.adapters.wrappers import refresh, unwrap, unwrap_model
from lightning_dice.choices import Choices, Granularity
from lightning_dice.intercept import intercept, untraced
from lightning_dice.ranks import check_same, gather, optimizer_settings
from lightning_dice.records import RollLog, SlotFile
from lightning_dice.resuming import check_resume
from lightning_dice.rolling import Rolling
from lightning_dice.rules import Roll, SettingError
from lightning_dice.rules.errors import whole_number
from lightning_dice.rules.words import advice, meaning
from lightning_dice.scope import NameSource, kept_names, parameter_names

_log = logging.getLogger(__name__)
_attached: weakref.WeakKeyDictionary[Optimizer, dict[int, Granularity]] = (
    weakref.WeakKeyDictionary()
)
"""The saving throws that an optimizer has: their numbers, and what they roll for."""
_writers: weakref.WeakValueDictionary[Path, DiceHandle] = weakref.WeakValueDictionary()
"""Who writes which file."""
MOST_SAVING_THROWS = 1000
"""That one training may have; their numbers are a part of the stream of rolls."""


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
        self._check()
        self._rank, self._processes = _place()
        self.seed = self._agree()
        self.rolls = RollLog()
        self._folder = folder if self._rank == 0 else None
        self._path: Path | None = None
        self._slots: SlotFile | None = None
        self._opened = False  # the file, which is left for the first roll, as a state may be loaded
        self._next_batch = 0  # that the file goes on with
        self._step = 0  # optimizer steps completed
        self._batch: int | None = None  # mini-batches begun; nobody may say
        self._stepping: int | None = None  # the optimizer whose step is being made
        self._evaluated = False  # a mini-batch was, by the closure of that step
        self._undo: list[Callable[[], None]] = []
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
        if not self._evaluated:
            self.begin_mini_batch()
        self._evaluated = self._stepping is not None
        if self._choices.granularity != "per_mini_batch":
            backward(loss, *args, **kwargs)
            return
        self._open()
        where = {"step": self._step, "batch": self._at_hand}
        waited_for = self._processes > 1 or self._scaler is not None
        groups = (group for o in self._optimizers for group in o.param_groups)
        zeroed = [p for group in groups for p in group["params"]] if waited_for else None
        self._rolling.backward(backward, loss, *args, **where, zeroed=zeroed, **kwargs)
        if self._stepping is not None:
            self._rolling.before_step(self._stepping, **where)

    def begin_mini_batch(self) -> None:
        """Count a mini-batch, for the column ``batch`` of rolls; ``backward`` does this by itself.

        A loop that says nothing has as many as it has optimizer steps.
        """
        self._batch = (self._batch or 0) + 1

    def state_dict(self) -> dict[str, Any]:
        """Where the dice are, as plain values, to be saved with the model's and the optimizer's."""
        self.flush()  # what a checkpoint counts is in the file
        place = {"step": self._step, "batch": self._batch}
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
        self._step, self._batch, self._opened = step, batch, False
        self._next_batch = step if batch is None else batch
        self._attach()

    def flush(self) -> None:
        """Write what was rolled so far, where there is a folder."""
        self.rolls.flush()
        if self._slots is not None:
            self._slots.write((steps.slots() for steps in self._rolling.steps), self._names())

    def remove(self) -> None:
        """Take the dice away, and leave the optimizer as it was; a second time does no harm."""
        try:
            self.flush()
        finally:
            self._detach()
            self._slots = None
            if self._path is not None:
                _writers.pop(self._path, None)
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
        if self._stepping is not None:  # within a scaler's step, or a class's own super().step()
            return inner(*args, **kwargs)
        self._before(index, closure=any(map(callable, (*args, *kwargs.values()))))
        made = False
        try:
            result = inner(*args, **kwargs)
            made = True
        finally:
            self._after(made)
        return result

    def _around_scaler(
        self, inner: Callable[..., Any], optimizer: Any, *args: Any, **kwargs: Any
    ) -> Any:
        for index, own in enumerate(self._optimizers):
            if own is optimizer:
                return self._around_step(index, partial(inner, optimizer), *args, **kwargs)
        return inner(optimizer, *args, **kwargs)

    @untraced
    def _before(self, index: int, closure: bool) -> None:
        self._open()
        self._stepping = index
        batch = self._batch if closure and self._batch is not None else self._at_hand
        self._rolling.before_step(index, step=self._step, batch=batch)

    @untraced
    def _after(self, made: bool) -> None:
        self._rolling.forget()  # what a scaler left out
        self._step += made  # a step that raised may be tried again, and has the same roll then
        self._stepping, self._evaluated = None, False

    @property
    def _at_hand(self) -> int:
        """The mini-batch at hand, or the last one."""
        return self._step if self._batch is None else max(0, self._batch - 1)

    # -- helpers ------------------------------------------------------------------------------

    def _check(self) -> None:
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
        for index, optimizer in enumerate(self._optimizers):
            there = _attached.get(optimizer, {})
            if self._ordinal in there or optimizer in self._optimizers[:index]:
                again = "the optimizer has these dice already; remove() them first, or take another"
                raise SettingError("ordinal", self._ordinal, again)
            if any(granularity != choices.granularity for granularity in there.values()):
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
            _attached.setdefault(optimizer, {})[self._ordinal] = self._choices.granularity
        if self._scaler is not None:
            self._undo.append(intercept(self._scaler, "step", self._around_scaler))
        for wrapper in self._given:
            refresh(wrapper)

    def _detach(self) -> None:
        while self._undo:
            self._undo.pop()()
        self._rolling.detach()
        for optimizer in self._optimizers:
            _attached.get(optimizer, {}).pop(self._ordinal, None)

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
        if self._opened or self._folder is None:
            return
        stem = "" if self._ordinal == 0 else f"-{self._ordinal + 1}"
        self._path = (self._folder / f"rolls{stem}.csv").absolute()
        self._claim(self._path)
        self.rolls.open(self._path, self._next_batch, self._step)
        several = self._choices.scope != "model"
        self._slots = SlotFile(self._folder / f"slots{stem}.csv") if several else None
        self.flush()
        self._opened = True

    def _claim(self, path: Path) -> None:
        """Refuse to write into the file of other dice."""
        if _writers.get(path, self) is not self:
            gc.collect()  # of a loop that has ended: handle and optimizer hold each other
        if _writers.setdefault(path, self) is not self:
            remedy = f"other dice write {path.name} there; remove() them, or give these ordinal=1"
            raise SettingError("folder", str(path.parent), f"{remedy} or a folder of their own")


def _name_source(optimizers: Sequence[Optimizer], model: nn.Module | None) -> NameSource:
    """Give the names that a model gives to its parameters, or else those that optimizers keep."""
    if model is None:
        return partial(kept_names, optimizers)
    return lambda: parameter_names(unwrap_model(model))


def _place() -> tuple[int, int]:
    """The rank of this process, and how many there are."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1
