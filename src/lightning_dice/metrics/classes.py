"""torchmetrics metrics over rolls; each only accumulates what its pure function needs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from lightning_dice.metrics import functional
from lightning_dice.rules import Roll, SavingThrow
from lightning_dice.rules.saving_throw import check_throw


class OutcomeCounts(Metric):
    """How often each outcome came up: shape ``(4,)``, int64, in the order of ``Outcome``.

    Example:
        >>> throw, counts = SavingThrow("d20", threshold=10), OutcomeCounts()
        >>> counts.update([throw.resolve(1), throw.resolve(15)])
        >>> counts.compute()
        tensor([1, 0, 1, 0])
    """

    is_differentiable = False
    full_state_update = False
    counts: Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        zeros = torch.zeros(len(functional.OUTCOMES), dtype=torch.long)
        self.add_state("counts", zeros, dist_reduce_fx="sum")

    def update(self, rolls: Roll | Sequence[Roll]) -> None:
        """Add one roll or several."""
        self.counts += functional.outcome_counts(functional.check_rolls(rolls)).to(
            self.counts.device
        )

    def compute(self) -> Tensor:
        """The counts so far."""
        return self.counts


class MeanScale(Metric):
    """Mean scale of the rolls, a discard counting as 0; a float64 scalar.

    Example:
        >>> throw, mean = SavingThrow("d20", threshold=10), MeanScale()
        >>> mean.update(throw.resolve(20))
        >>> mean.update(throw.resolve(1))
        >>> mean.compute()
        tensor(0.5000, dtype=torch.float64)
    """

    is_differentiable = False
    full_state_update = False
    total: Tensor
    rolls: Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("total", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("rolls", torch.zeros((), dtype=torch.long), dist_reduce_fx="sum")

    def update(self, rolls: Roll | Sequence[Roll]) -> None:
        """Add one roll or several."""
        checked = functional.check_rolls(rolls)
        self.total += sum(roll.scale or 0.0 for roll in checked)
        self.rolls += len(checked)

    def compute(self) -> Tensor:
        """The mean so far; NaN without rolls."""
        return self.total / self.rolls


class Luck(OutcomeCounts):
    """How far the rolls are from the odds, as a p-value; see ``functional.luck``.

    Args:
        throw: The saving throw whose odds the rolls are held against.
        **kwargs: Passed to ``torchmetrics.Metric``.

    Example:
        >>> throw = SavingThrow("d20", threshold=10)
        >>> luck = Luck(throw)
        >>> luck.update([throw.resolve(natural) for natural in range(1, 21)])
        >>> luck.compute()
        tensor(1., dtype=torch.float64)
    """

    def __init__(self, throw: SavingThrow, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.throw = check_throw(throw)

    def compute(self) -> Tensor:
        """The p-value so far; NaN without rolls."""
        return functional.luck(self.counts, self.throw.odds())
