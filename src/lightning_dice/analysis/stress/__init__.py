"""What trained runs are worth under stress, and how the arms of a sweep differ in it."""

from lightning_dice.analysis.stress.gather import Stress
from lightning_dice.analysis.stress.report import write_stress

__all__ = ["Stress", "write_stress"]
