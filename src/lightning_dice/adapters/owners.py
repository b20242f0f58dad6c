"""A registry of the dice that each optimizer has."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

from torch.optim import Optimizer

if TYPE_CHECKING:
    from lightning_dice.adapters.handle import DiceHandle

_attached: weakref.WeakKeyDictionary[Optimizer, dict[int, weakref.ref[DiceHandle]]] = (
    weakref.WeakKeyDictionary()
)
"""The handles of an optimizer by their ordinals; an optimizer keeps its handles alive."""


def dice_of(optimizer: Optimizer) -> dict[int, DiceHandle]:
    """Return the handles of all dice that an optimizer has, by their ordinals."""
    kept = {ordinal: handle() for ordinal, handle in _attached.get(optimizer, {}).items()}
    return {ordinal: handle for ordinal, handle in kept.items() if handle is not None}


def note(optimizer: Optimizer, ordinal: int, handle: DiceHandle) -> None:
    """Note that an optimizer has these dice."""
    _attached.setdefault(optimizer, {})[ordinal] = weakref.ref(handle)


def forget(optimizer: Optimizer, ordinal: int, handle: DiceHandle) -> None:
    """Note that an optimizer has these dice no more."""
    if dice_of(optimizer).get(ordinal) is handle:
        del _attached[optimizer][ordinal]
