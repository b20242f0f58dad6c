"""The plots of one run; each is a function from a run to a figure."""

from lightning_dice.analysis.plots.curves import accuracy, loss
from lightning_dice.analysis.plots.outcomes import outcomes
from lightning_dice.analysis.plots.scales import scales
from lightning_dice.analysis.plots.slots import slots

__all__ = ["accuracy", "loss", "outcomes", "scales", "slots"]
