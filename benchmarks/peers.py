"""What dice are held against: other people's ways to do the same, written as people write them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from lightning.pytorch import Callback

from lightning_dice import SavingThrow, SavingThrowCallback

THROW = SavingThrow("d20", threshold=10)


class Ancestor(Callback):
    """A tensor is rolled and read back, and a loop multiplies gradients one by one."""

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        roll = torch.randint(1, 21, (1,), device=pl_module.device).item()
        scale = THROW.resolve(roll).scale or 0.0
        for parameter in pl_module.parameters():
            if parameter.grad is not None:
                parameter.grad.mul_(scale)


class Straightforward(Callback):
    """A multi-tensor multiplication, and two values logged at every step."""

    def __init__(self):
        self.random = np.random.default_rng(0)

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        roll = int(self.random.integers(1, 21))
        scale = THROW.resolve(roll).scale or 0.0
        gradients = [p.grad for p in pl_module.parameters() if p.grad is not None]
        torch._foreach_mul_(gradients, scale)
        pl_module.log("dice/roll", float(roll))
        pl_module.log("dice/scale", scale)


def dice(throw: SavingThrow = THROW, **settings) -> Callable[[], list[Callback]]:
    """A saving throw with these settings."""
    return lambda: [SavingThrowCallback(throw, seed=0, **settings)]


DICE: dict[str, Callable[[], list[Callback]]] = {
    "gradient": dice(),
    "update": dice(target="update"),
    "gradient, a roll a tensor": dice(scope="tensor"),
    "update, a roll a tensor": dice(target="update", scope="tensor"),
    "per mini-batch": dice(granularity="per_mini_batch"),
}
PEERS: dict[str, Callable[[], list[Callback]]] = {
    "ancestor": lambda: [Ancestor()],
    "straightforward callback": lambda: [Straightforward()],
}
WAYS = {"plain": list, **DICE, **PEERS}
"""What each way to train adds to the Trainer's callbacks."""
