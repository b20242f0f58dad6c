"""Roll-to-Train for PyTorch Lightning: a die decides how much of every update is applied."""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from lightning_dice.callback import SavingThrowCallback
    from lightning_dice.module import DiceLightningModule
    from lightning_dice.rules import Die, Odds, Outcome, Roll, SavingThrow

__all__ = [
    "DiceLightningModule",
    "Die",
    "Odds",
    "Outcome",
    "Roll",
    "SavingThrow",
    "SavingThrowCallback",
]

_HOMES = {
    "DiceLightningModule": "lightning_dice.module",
    "SavingThrowCallback": "lightning_dice.callback",
}


def __getattr__(name: str) -> Any:
    # Resolved on first use, so that the rules and the command line never wait for torch.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if "torch" in sys.modules:  # a module in the making may keep the value in its checkpoints
        importlib.import_module("lightning_dice.kept")
    return getattr(importlib.import_module(_HOMES.get(name, "lightning_dice.rules")), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
