"""Measures trained models: their loss as a function of their weights, and what disturbs it.

Torch alone: no Trainer, no folders. What a probe returns are tensors and plain numbers.
"""

from lightning_dice.probes.objective import Objective, cross_entropy
from lightning_dice.probes.weights import Layout

__all__ = ["Layout", "Objective", "cross_entropy"]
