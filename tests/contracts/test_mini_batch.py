"""Mini-batch: the batch's share of the gradient is s x its own; the logged loss is the true one."""

import pytest
import torch

from lightning_dice import DiceLightningModule, SavingThrow, SavingThrowCallback, rules
from support.reference import clip_by_norm, margin_d20, scales, train
from support.toy import OPTIMIZERS, Toy, adamw, data, fit, loader, loss_of, momentum, same, sgd

STEPS = 20
THROW = SavingThrow("d20", threshold=10)


class DiceToy(DiceLightningModule, Toy):
    """The toy model on the base class; the mixture is what a user's subclass amounts to."""

    def __init__(self, optimizer=sgd, saving_throw=None, seed=None):
        super().__init__(saving_throw, seed, optimizer=optimizer)


def callback(throw=THROW, seed=0):
    return SavingThrowCallback(throw, granularity="per_mini_batch", seed=seed)


@pytest.mark.filterwarnings("ignore:gradient clipping comes after the rolls")
@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
@pytest.mark.parametrize("accumulate", [1, 3])
@pytest.mark.parametrize("clip", [None, 0.05])
def test_callback_and_module_equal_a_plain_loop(optimizer, accumulate, clip):
    settings = {
        "max_steps": STEPS,
        "accumulate_grad_batches": accumulate,
        "gradient_clip_val": clip,
    }
    rolled = scales(THROW, 0, STEPS * accumulate, margin_d20)
    clipping = {} if clip is None else {"clip": clip_by_norm(clip)}
    weights, _ = train(optimizer, STEPS, batch_scales=rolled, accumulate=accumulate, **clipping)
    arms = {
        "callback on any module": (Toy(optimizer), [callback()]),
        "module alone": (DiceToy(optimizer, THROW, seed=0), []),
        "callback on a dice module": (DiceToy(optimizer), [callback()]),
        "both, the same throw": (DiceToy(optimizer, THROW, seed=99), [callback()]),
    }
    for arm, (model, callbacks) in arms.items():
        fit(model, callbacks, **settings)
        assert same(model.weights(), weights), arm


def test_the_logged_loss_is_the_true_one():
    frozen = SavingThrow("d4", 2, [0.0, 0.0, None, 40.0])
    model, plain = Toy(lambda parameters: torch.optim.SGD(parameters, lr=0.0)), Toy()
    trainer = fit(model, [callback(frozen)], max_steps=12)
    fit(plain, max_steps=1)
    assert float(trainer.callback_metrics["train_loss"]) == model.losses[-1]
    assert model.losses == [loss_of(model.net, batch).item() for batch in data()]
    assert model.losses[0] == plain.losses[0]


class Poisoned(Toy):
    """Its loss and every gradient of it are NaN on the batches named."""

    def __init__(self, poison, optimizer=sgd):
        super().__init__(optimizer)
        self.poison = poison

    def training_step(self, batch, batch_idx):
        loss = super().training_step(batch, batch_idx)
        return loss * torch.nan if batch_idx in self.poison else loss


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_discarded_batch_adds_nothing_even_when_its_loss_is_nan(accumulate):
    throw = SavingThrow("d4", 2, [None, 0.5, None, 1.0])
    rolled = [throw.resolve(int(n)).scale for n in rules.Roller(throw, 1).naturals(0, 12)]
    poison = {batch for batch, scale in enumerate(rolled) if scale is None}
    assert 3 <= len(poison) <= 9
    steps = 12 // accumulate
    model = Poisoned(poison, adamw)
    fit(model, [callback(throw, seed=1)], max_steps=steps, accumulate_grad_batches=accumulate)
    weights, _ = train(adamw, steps, batch_scales=rolled, accumulate=accumulate)
    assert all(weight.isfinite().all() for weight in weights)
    assert same(model.weights(), weights)


class KeepsZeros(Toy):
    """Zeroes gradients in place, so that a window without a batch has zeros, not none."""

    def optimizer_zero_grad(self, epoch, batch_idx, optimizer):
        optimizer.zero_grad(set_to_none=False)


@pytest.mark.parametrize("model", [Toy, KeepsZeros])
def test_a_window_of_only_discarded_batches_is_a_discarded_update(model):
    throw = SavingThrow("d4", 2, [None, 0.5, None, 1.0])
    rolled = [throw.resolve(int(n)).scale for n in rules.Roller(throw, 1).naturals(0, 60)]
    windows = [rolled[i : i + 2] for i in range(0, 60, 2)]
    assert windows.count([None, None]) >= 3
    diced = model(momentum)
    fit(diced, [callback(throw, seed=1)], max_steps=30, accumulate_grad_batches=2)
    weights, _ = train(momentum, 30, batch_scales=rolled, accumulate=2)
    assert same(diced.weights(), weights)


def test_every_loss_of_one_mini_batch_has_the_same_roll():
    class TwoLosses(Toy):
        def __init__(self):
            super().__init__(sgd)
            self.automatic_optimization = False
            self.gradients = []

        def training_step(self, batch, batch_idx):
            optimizer = self.optimizers()
            for factor in (1.0, 2.0):
                optimizer.zero_grad()
                self.manual_backward(factor * loss_of(self.net, batch))
                self.gradients.append(self.net[2].bias.grad.clone())
            optimizer.step()

    model, dice = TwoLosses(), callback(SavingThrow("d20", 2, [float(n) for n in range(1, 21)]))
    fit(model, [dice], max_steps=6)
    assert dice.rolls.tally.rolls == 6
    ones, twos = model.gradients[::2], model.gradients[1::2]
    assert all(torch.allclose(2 * one, two) for one, two in zip(ones, twos, strict=True))


def test_the_module_brings_its_callback_once():
    model = DiceToy(sgd, THROW, seed=0)
    trainer = fit(model, max_steps=3)
    trainer.fit_loop.epoch_loop.max_steps = 6
    trainer.fit(model, loader())
    throws = [c for c in trainer.callbacks if isinstance(c, SavingThrowCallback)]
    assert len(throws) == 1
    assert [r.batch for r in throws[0].rolls.recent] == list(range(6))


def test_a_dice_module_without_a_saving_throw_is_an_ordinary_one():
    plain, bare = Toy(adamw), DiceToy(adamw)
    fit(plain)
    trainer = fit(bare)
    assert same(plain.weights(), bare.weights())
    assert not any(isinstance(c, SavingThrowCallback) for c in trainer.callbacks)
