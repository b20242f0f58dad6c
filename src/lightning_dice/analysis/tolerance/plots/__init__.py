"""The plots of tolerance; each function gives those that have something to show."""

from lightning_dice.analysis.tolerance.plots.breakdown import breakdown
from lightning_dice.analysis.tolerance.plots.curves import curves, step

__all__ = ["breakdown", "curves", "step"]
