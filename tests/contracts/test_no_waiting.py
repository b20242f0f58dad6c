"""Dice never ask a tensor for its value, which on an accelerator is to wait for it."""

from collections import Counter

import pytest
from torch.utils._python_dispatch import TorchDispatchMode

from lightning_dice import SavingThrow, SavingThrowCallback
from support.toy import Toy, adamw, fit

ASKING = ("_local_scalar_dense", "item", "is_nonzero", "equal", "nonzero")
STEPS = 60
THROW = SavingThrow("d4", 2, [-0.5, 0.25, 0.5, 1.0])
"""Without a discard, for which the optimizer itself would ask less."""


class Count(TorchDispatchMode):
    """Counts the operations that need a value."""

    def __init__(self):
        super().__init__()
        self.asked = Counter()

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        name = operation.overloadpacket.__name__
        if name in ASKING:
            self.asked[name] += 1
        return operation(*args, **(kwargs or {}))


def asked(callbacks):
    with Count() as count:
        fit(Toy(adamw), callbacks, max_steps=STEPS, log_every_n_steps=10**6)
    return count.asked


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"target": "update"},
        {"scope": "tensor"},
        {"target": "update", "scope": "tensor"},
        {"granularity": "per_mini_batch"},
    ],
    ids=lambda settings: "-".join(map(str, settings.values())) or "gradient",
)
def test_no_more_is_asked_for_than_without_dice(settings):
    plain = asked([])
    dice = asked([SavingThrowCallback(THROW, seed=0, **settings)])
    assert plain["_local_scalar_dense"] >= STEPS  # the toy asks for its losses
    assert not dice - plain


def test_asking_is_noticed():
    class Asks(SavingThrowCallback):
        def on_before_optimizer_step(self, trainer, pl_module, optimizer):
            super().on_before_optimizer_step(trainer, pl_module, optimizer)
            next(pl_module.parameters()).grad.sum().item()

    assert asked([Asks(THROW, seed=0)]) - asked([]) == {"_local_scalar_dense": STEPS}
