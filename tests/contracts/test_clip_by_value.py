"""Clipping by value in steps that were discarded: torch refuses it where no gradient is there."""

import pytest
import torch

from lightning_dice import SavingThrow, SavingThrowCallback
from support.toy import Toy, adamw, data, fit, loss_of, network, same, sgd

OFTEN = SavingThrow("d2", 1, [None, 1])
"""Every other roll is a discard."""
WAYS = {"skipped": {"skip_discarded": True}, "mini-batches": {"granularity": "per_mini_batch"}}

pytestmark = pytest.mark.filterwarnings("ignore:gradient clipping comes after the rolls")


class ClipsItself(Toy):
    """Clips in Lightning's hook, by torch's own function."""

    def configure_gradient_clipping(self, optimizer, gradient_clip_val, gradient_clip_algorithm):
        torch.nn.utils.clip_grad_value_(self.parameters(), 0.01)


class ClipsByHand(Toy):
    """Optimizes manually, and clips by Lightning's method."""

    automatic_optimization = False

    def training_step(self, batch, batch_idx):
        optimizer = self.optimizers()
        optimizer.zero_grad()
        self.manual_backward(super().training_step(batch, batch_idx))
        self.clip_gradients(optimizer, 0.01, "value")
        optimizer.step()


def by_hand(optimizer, naturals):
    """Train without Lightning: a natural 1 leaves everything as it is."""
    net = network()
    steps = optimizer(net.parameters())
    for batch, natural in zip(data(), naturals, strict=True):
        if natural == 1:
            continue
        steps.zero_grad()
        loss_of(net, batch).backward()
        torch.nn.utils.clip_grad_value_(net.parameters(), 0.01)
        steps.step()
    return list(net.parameters())


@pytest.mark.parametrize("optimizer", [sgd, adamw])
@pytest.mark.parametrize("kind", [Toy, ClipsItself])
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_discarded_steps_are_not_clipped_and_others_are(way, kind, optimizer):
    clip = {"gradient_clip_val": 0.01, "gradient_clip_algorithm": "value"}
    dice = SavingThrowCallback(OFTEN, seed=0, **way)
    model = kind(optimizer)
    fit(model, [dice], max_steps=12, **(clip if kind is Toy else {}))
    naturals = [record.natural for record in dice.rolls.recent]
    assert {1, 2} == set(naturals)
    assert same(model.weights(), by_hand(optimizer, naturals))


def test_manual_optimization_clips_what_is_left():
    dice = SavingThrowCallback(OFTEN, seed=0, granularity="per_mini_batch")
    model = ClipsByHand(sgd)
    fit(model, [dice], max_steps=12)
    naturals = [record.natural for record in dice.rolls.recent]
    assert {1, 2} == set(naturals)
    assert same(model.weights(), by_hand(sgd, naturals))


def test_windows_that_were_discarded_whole():
    dice = SavingThrowCallback(OFTEN, seed=0, granularity="per_mini_batch")
    settings = {"gradient_clip_val": 0.01, "gradient_clip_algorithm": "value"}
    trainer = fit(Toy(), [dice], max_steps=18, accumulate_grad_batches=2, **settings)
    windows = list(zip(*[iter(r.natural for r in dice.rolls.recent)] * 2, strict=True))
    assert (1, 1) in windows
    assert trainer.global_step == 18


def test_the_module_is_as_it_was_afterwards():
    model = Toy()
    fit(model, [SavingThrowCallback(OFTEN, seed=0, skip_discarded=True)])
    assert not {"configure_gradient_clipping", "clip_gradients", "backward"} & vars(model).keys()
