"""The plots of runs under stress; each function gives those that have something to show."""

from lightning_dice.analysis.stress.plots.differences import differences
from lightning_dice.analysis.stress.plots.noise import label_noise
from lightning_dice.analysis.stress.plots.strength import strength
from lightning_dice.analysis.stress.plots.windows import learning_rates
from lightning_dice.analysis.stress.plots.worst import worst_case

__all__ = ["differences", "label_noise", "learning_rates", "strength", "worst_case"]
"""In the order of the page."""
