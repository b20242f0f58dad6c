"""The landscape's pictures for print."""

from lightning_dice.analysis.landscape.plots.lines import lines
from lightning_dice.analysis.landscape.plots.paths import paths
from lightning_dice.analysis.landscape.plots.slices import slice_lines, slice_maps

__all__ = ["lines", "paths", "slice_lines", "slice_maps"]
