"""The factors of a run for all its steps, as the package's own dice would roll them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from arms import Arm

from lightning_dice.rules import Roller

Factors = npt.NDArray[np.float64]


def factors_of(arm: Arm, chosen: Sequence[bool], seed: int, steps: int) -> Factors:
    """What is rolled for each step and tensor; NaN is a discard.

    They are those of ``attach(optimizer, arm.throw, scope=..., include=..., seed=seed)`` with an
    optimizer that has the tensors in this order.

    Args:
        arm: Says what is rolled, and for what.
        chosen: Which tensors are hidden ones.
        seed: Of the dice.
        steps: How many.

    Returns:
        Shape ``(steps, tensors)``, or ``(steps, 1)`` where all tensors have the same.
    """
    if arm.throw is None:
        return np.ones((steps, 1))
    table = np.array([np.nan if f is None else float(f) for f in arm.throw.factors])
    roller = Roller(arm.throw, seed, draws=arm.draws)
    rolled = np.array([arm.include == "all" or hidden for hidden in chosen])
    if arm.scope == "model":
        own = table[roller.naturals(0, steps, 0) - 1][:, None]
        return own if rolled.all() else np.where(rolled, own, 1.0)
    factors = np.ones((steps, len(chosen)))
    for slot in np.flatnonzero(rolled):
        factors[:, slot] = table[roller.naturals(0, steps, int(slot)) - 1]
    return factors
