"""The game, pure: dice, saving throws, odds and rolls. No torch, no Lightning.

Example:
    >>> throw = SavingThrow("d20", threshold=15)
    >>> print(throw, "->", f"expected step {float(throw.odds().mean):.3f}")
    d20, threshold 15, margin -> expected step 0.035
"""

from lightning_dice.rules.controls import CONTROLS, Arm, control_arm
from lightning_dice.rules.die import Die
from lightning_dice.rules.errors import SettingError
from lightning_dice.rules.odds import Odds
from lightning_dice.rules.outcome import Outcome, Roll
from lightning_dice.rules.roller import Roller
from lightning_dice.rules.saving_throw import SavingThrow
from lightning_dice.rules.scaling import SCALINGS
from lightning_dice.rules.words import LOW_EFFICIENCY, advice, meaning

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
    "advice",
    "control_arm",
    "meaning",
]
