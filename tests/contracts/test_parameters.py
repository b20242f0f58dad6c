"""Whatever parameters and gradients there are, weights move by what was rolled and no others do."""

import pytest
import torch
from torch import nn

from support.by_hand import EXACT, FULL, KINDS, apart, dice, factor, leaves, roll
from support.toy import BATCHES, Toy, adamw, data, fit, loss_of, same, sgd


def rmsprop(parameters):
    """It is not torch's own class, so that weights are copied."""

    class Mine(torch.optim.RMSprop):
        pass

    return Mine(parameters, lr=0.01)


STILL = {
    "whole numbers": torch.tensor([1, -2, 3]),
    "truths": torch.tensor([True, False]),
    "a mask": torch.tensor([0.5, -torch.inf, torch.nan]),
    "nothing": torch.zeros(0),
}


class Odd(Toy):
    """Has a complex parameter, one that has a gradient now and then, and one that never has."""

    def __init__(self, factory, still):
        super().__init__(factory)
        values = torch.linspace(-1, 1, 3, dtype=torch.float64)
        self.complex = nn.Parameter(torch.complex(values, values.flip(0)))
        self.sometimes = nn.Parameter(values.clone())
        self.still = nn.Parameter(still.clone(), requires_grad=False)
        self.register_buffer("count", torch.tensor(7))

    def training_step(self, batch, batch_idx):
        loss = loss_of(self.net, batch) + (batch[0][0] * self.complex - 1).abs().sum()
        return loss + (self.sometimes * batch[0]).sum() if batch_idx % 3 == 0 else loss

    def moving(self):
        moving = [p for p in self.parameters() if p.requires_grad]
        return [torch.view_as_real(p) if p.is_complex() else p for p in moving]


def bits(tensors):
    """So that == compares, not a numbers and signs of zeros too."""
    return [(t.dtype, str(t.tolist())) for t in tensors]


@pytest.mark.parametrize("still", STILL.values(), ids=STILL)
@pytest.mark.parametrize("factory", [adamw, rmsprop])
@pytest.mark.parametrize("kind", KINDS)
def test_parameters_of_every_kind(kind, factory, still):
    model, twin = Odd(factory, still), Odd(factory, still).double()
    fit(model, [dice(kind)], max_steps=-1, max_epochs=2, precision="64-true")
    assert bits([model.still, model.count]) == bits([twin.still, twin.count])
    optimizer = factory(twin.parameters())
    for step, (inputs, targets) in enumerate(2 * data()):
        optimizer.zero_grad()
        scale = factor(step) if kind == "per_mini_batch" else 1.0
        if scale is not None:
            batch = inputs.double(), targets.double()
            (scale * twin.training_step(batch, step % BATCHES)).backward()
        moving = [p for p in twin.parameters() if p.requires_grad]
        roll(optimizer, kind, dict.fromkeys(moving, factor(step)))
    assert apart(model.moving(), twin.moving()) < EXACT


class Words(Toy):
    def __init__(self, factory):
        super().__init__(factory)
        self.table = nn.Embedding(6, 3, sparse=True)
        with torch.no_grad():
            self.table.weight.copy_(torch.linspace(-1, 1, 18).view(6, 3))
        self.net.requires_grad_(False)

    def loss(self, batch):
        words = (batch[0].abs() * 4).long().clamp(max=5)[:, :2]  # the last one is rare
        return loss_of(self.net, (self.table(words).mean(1), batch[1]))

    def training_step(self, batch, batch_idx):
        return self.loss(batch)

    def configure_optimizers(self):
        return self.factory(self.table.parameters())


SPARSE = {
    "SGD": sgd,
    "SparseAdam": lambda parameters: torch.optim.SparseAdam(parameters, lr=0.05),
}


@pytest.mark.parametrize("factory", SPARSE.values(), ids=SPARSE)
@pytest.mark.parametrize("kind", KINDS)
def test_sparse_embeddings(kind, factory):
    model, twin = Words(factory), Words(factory).double()
    fit(model, [dice(kind)], max_steps=-1, max_epochs=1, precision="64-true")
    optimizer = twin.configure_optimizers()
    for step, (inputs, targets) in enumerate(data()):
        optimizer.zero_grad()
        scale = factor(step) if kind == "per_mini_batch" else 1.0
        if scale is not None:
            (scale * twin.loss((inputs.double(), targets.double()))).backward()
        roll(optimizer, kind, {twin.table.weight: factor(step)})
    assert apart([model.table.weight], [twin.table.weight]) < EXACT


class Poisoned(Toy):
    """The loss of some batches is not finite, and neither are its gradients."""

    def __init__(self, factory, poisoned, poison):
        super().__init__(factory)
        self.poisoned, self.poison = poisoned, poison
        self.untouched = []

    def training_step(self, batch, batch_idx):
        self.before = self.weights()
        loss = loss_of(self.net, batch)
        return loss * self.poison if batch_idx in self.poisoned else loss

    def on_train_batch_end(self, outputs, batch, batch_idx):
        if batch_idx in self.poisoned:
            self.untouched.append(bits(self.weights()) == bits(self.before))


@pytest.mark.parametrize("factory", [adamw, rmsprop])
@pytest.mark.parametrize("poison", [torch.inf, torch.nan])
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_not_finite_is_gone_with_its_discard(kind, poison, factory):
    discards = {step for step in range(12) if factor(step) is None}
    assert discards
    model, clean = Poisoned(factory, discards, poison), Toy(factory)
    trainer = fit(model, [dice(kind)], max_steps=12)
    assert model.untouched == [True] * len(discards)
    if kind != "update":  # where the optimizer takes in what its update is discarded for
        other = fit(clean, [dice(kind)], max_steps=12)
        assert same(model.weights(), clean.weights())
        states = [t.optimizers[0].state_dict() for t in (trainer, other)]
        assert leaves(states[0]) == leaves(states[1])


@pytest.mark.parametrize("factory", [adamw, rmsprop])
@pytest.mark.parametrize("poison", [torch.inf, torch.nan])
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_not_finite_and_kept_is_as_without_dice(kind, poison, factory):
    runs = []
    for callbacks in ([dice(kind, FULL)], []):
        model = Poisoned(factory, {5}, poison)
        trainer = fit(model, callbacks, max_steps=8)
        runs.append([bits(model.weights()), str(leaves(trainer.optimizers[0].state_dict()))])
    assert runs[0] == runs[1]


class Watches(Toy):
    """Keeps the weights before and after each step, and what the optimizer saw and knew."""

    def __init__(self, factory):
        super().__init__(factory)
        self.steps = []

    def training_step(self, batch, batch_idx):
        self.before = self.weights()
        return loss_of(self.net, batch)

    def on_train_batch_end(self, *args):
        gradients = [None if p.grad is None else p.grad.clone() for p in self.parameters()]
        self.steps.append((self.before, gradients, self.weights()))


@pytest.mark.parametrize(
    ("precision", "dtype"), [("bf16-true", torch.bfloat16), ("16-true", torch.float16)]
)
@pytest.mark.parametrize("kind", KINDS)
def test_in_half_precision_an_update_is_rounded_once(kind, precision, dtype):
    model, callback = Watches(sgd), dice(kind)
    fit(model, [callback], max_steps=12, precision=precision)
    for step, (before, gradients, after) in enumerate(model.steps):
        scale = factor(step) or 0.0
        for start, gradient, end in zip(before, gradients, after, strict=True):
            assert end.dtype == dtype
            if gradient is None or (kind == "update" and scale == 0):
                assert torch.equal(start, end)
                continue
            own = -0.1 * gradient.double() * (scale if kind == "update" else 1)
            exact = start.double() + own
            rounding = torch.finfo(dtype).eps * (exact.abs() + own.abs()) / 2
            assert ((end.double() - exact).abs() <= rounding + torch.finfo(dtype).tiny).all()


@pytest.mark.parametrize("factory", [adamw, rmsprop])
@pytest.mark.parametrize("precision", ["bf16-true", "16-true"])
@pytest.mark.parametrize("kind", KINDS)
def test_in_half_precision_scale_1_is_training_without_dice(kind, precision, factory):
    diced, plain = Toy(factory), Toy(factory)
    fit(diced, [dice(kind, FULL)], precision=precision)
    fit(plain, precision=precision)
    assert same(diced.weights(), plain.weights())
