"""The numbers that a run logs about its rolls."""

from __future__ import annotations

import torch

from lightning_dice.metrics.functional import OUTCOMES, luck
from lightning_dice.records import Tally
from lightning_dice.rules import Odds


def dice_metrics(tally: Tally, odds: Odds, prefix: str = "dice") -> dict[str, float]:
    """Counts of outcomes, mean scale and luck so far.

    Example:
        >>> from lightning_dice import Outcome, Roll, SavingThrow
        >>> tally = Tally()
        >>> tally.add(Roll(20, 20, Outcome.CRITICAL_SUCCESS, 1.0))
        >>> dice_metrics(tally, SavingThrow().odds())["dice/mean_scale"]
        1.0
    """
    counts = torch.tensor([tally.counts[outcome] for outcome in OUTCOMES])
    return {
        **{f"{prefix}/{outcome}": float(n) for outcome, n in tally.counts.items()},
        f"{prefix}/mean_scale": tally.mean_scale or 0.0,
        f"{prefix}/luck": float(luck(counts, odds)),
    }
