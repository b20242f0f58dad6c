"""The plots of a sweep; each function gives those that have something to show."""

from lightning_dice.analysis.sweep.plots.dots import dots
from lightning_dice.analysis.sweep.plots.frames import Drawing
from lightning_dice.analysis.sweep.plots.heat import heat
from lightning_dice.analysis.sweep.plots.learning import learning
from lightning_dice.analysis.sweep.plots.thresholds import thresholds

__all__ = ["Drawing", "dots", "heat", "learning", "thresholds"]
