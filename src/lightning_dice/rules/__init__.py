"""The game, pure: dice, saving throws, odds and rolls. No torch, no Lightning.

Example:
    >>> throw = SavingThrow("d20", threshold=15)
    >>> print(throw, "->", f"expected step {float(throw.odds().mean):.3f}")
    d20, threshold 15, margin -> expected step 0.035
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lightning_dice.rules.controls import CONTROLS, Arm, control_arm
from lightning_dice.rules.die import Die
from lightning_dice.rules.errors import SettingError
from lightning_dice.rules.odds import Odds
from lightning_dice.rules.outcome import Outcome, Roll
from lightning_dice.rules.saving_throw import SavingThrow, ThrowSettings
from lightning_dice.rules.scaling import SCALINGS
from lightning_dice.rules.words import LOW_EFFICIENCY, advice, meaning

if TYPE_CHECKING:
    from lightning_dice.rules.roller import Roller

__all__ = [
    "CONTROLS",
    "LOW_EFFICIENCY",
    "SCALINGS",
    "Arm",
    "Die",
    "Odds",
    "Outcome",
    "Roll",
    "Roller",
    "SavingThrow",
    "SettingError",
    "ThrowSettings",
    "advice",
    "control_arm",
    "meaning",
]


def __getattr__(name: str) -> Any:
    # Resolved on first use, as only rolls need numpy, which takes longer than all that tells odds.
    if name != "Roller":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from lightning_dice.rules.roller import Roller

    return Roller


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
