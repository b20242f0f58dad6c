"""Warning where weights are trained without a roll, so that no dice are silent by mistake."""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.optim.optimizer import register_optimizer_step_post_hook

PATIENCE = 3
"""Steps by others without a roll in between, before they are taken for the training."""

_watches: list[weakref.ref[Watch]] = []
_hook: list[Any] = []  # torch's handle of it, while anything is watched


class Watch:
    """Warns, once, where optimizers have dice and their parameters move without a roll.

    That is so where the step is made by another optimizer, such as the one inside a wrapper, or one
    that was made anew; or by something else that never calls ``step``. The first is seen as it
    happens, by a hook that torch calls after every step of any optimizer. The second is seen at the
    end, by what torch counts of writes to a tensor.

    Args:
        optimizers: Those that have the dice.
        busy: Whether one of them is making its step, in which others may take a part.
    """

    def __init__(self, optimizers: Sequence[Any], busy: Callable[[], bool]) -> None:
        self._kinds = " and ".join(dict.fromkeys(type(o).__name__ for o in optimizers))
        self._own = {id(optimizer) for optimizer in optimizers}
        self.busy = busy
        parameters = {p for o in optimizers for group in o.param_groups for p in group["params"]}
        self._versions = [(p, p._version) for p in parameters if p.requires_grad]
        self._stepped = False  # with a roll, or with a warning of ScaledSteps
        self._said = False
        self._others = 0  # steps by others since the last roll
        self._known: weakref.WeakKeyDictionary[Any, bool] = weakref.WeakKeyDictionary()
        if not _hook:
            _hook.append(register_optimizer_step_post_hook(_after_any_step))
        _watches.append(weakref.ref(self))

    def rolled(self) -> None:
        """Note that something was rolled."""
        self._stepped, self._others = True, 0

    def stepped(self, optimizer: Any) -> None:
        """Note a step of any optimizer, which may be within the step of one that has dice."""
        if id(optimizer) in self._own:
            self._stepped = True
            return
        if self._said or not self._shares(optimizer) or any(w.busy() for w in _live()):
            return
        self._others += 1
        if self._others == PATIENCE:
            other = type(optimizer).__name__
            self._say(
                f"{other} steps the parameters of {self._kinds} without a roll, because only "
                f"{self._kinds} has dice; attach the dice to this {other}, call step() of "
                f"{self._kinds}, or remove() the dice if this is intended"
            )

    def check(self) -> None:
        """Warn if no step was ever made, and yet there was training."""
        if not (self._stepped or self._said) and (self._others or self._trained()):
            self._say(
                f"the parameters of {self._kinds} were trained without a single roll, because its "
                "step() was never called; call it, or attach the dice to the optimizer whose "
                "step() your loop calls"
            )

    def close(self) -> None:
        """Check, and watch no longer; a second time does no harm."""
        _watches[:] = [ref for ref in _watches if ref() not in (None, self)]
        if not _watches and _hook:
            _hook.pop().remove()
        self.check()
        self._said = True
        self._versions.clear()

    def _say(self, message: str) -> None:
        self._said = True
        warnings.warn(message, stacklevel=2)

    def _shares(self, optimizer: Any) -> bool:
        """Return whether an optimizer without dice has parameters that are watched."""
        if any(id(optimizer) in watch._own for watch in _live()):
            return False
        if optimizer not in self._known:
            own = {id(parameter) for parameter, _ in self._versions}
            groups = optimizer.param_groups
            self._known[optimizer] = any(id(p) in own for g in groups for p in g["params"])
        return self._known[optimizer]

    def _trained(self) -> bool:
        """Return whether weights were written to as training does; loading writes to them once."""
        return any(
            parameter._version - before >= (PATIENCE if parameter.grad is None else 1)
            for parameter, before in self._versions
        )


def _after_any_step(optimizer: Any, *_: Any) -> None:
    if torch.compiler.is_compiling():
        return  # what is traced goes by here without a break
    for ref in tuple(_watches):
        if (watch := ref()) is not None:
            watch.stepped(optimizer)


def _live() -> list[Watch]:
    return [watch for ref in tuple(_watches) if (watch := ref()) is not None]
