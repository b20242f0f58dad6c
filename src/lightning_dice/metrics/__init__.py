"""Metrics over rolls: torchmetrics classes over the pure functions in ``metrics.functional``."""

from lightning_dice.metrics.classes import Luck, MeanScale, OutcomeCounts

__all__ = ["Luck", "MeanScale", "OutcomeCounts"]
