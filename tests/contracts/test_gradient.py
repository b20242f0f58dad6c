"""target=gradient: the optimizer sees s x (clipped gradient), whatever the clip, for every s."""

import pytest
import torch

from lightning_dice import SavingThrow, SavingThrowCallback
from support.reference import clip_by_norm, clip_by_value, margin_d20, scales, train
from support.toy import OPTIMIZERS, Toy, fit, same, sgd

STEPS = 30
THROW = SavingThrow("d20", threshold=10)
LARGE = SavingThrow("d4", 2, scaling=[3.0, -2.5, None, 40.0])


def rolls(throw, seed=0):
    callback = SavingThrowCallback(throw, seed=seed)
    rule = margin_d20 if throw is THROW else lambda natural: throw.scaling[natural - 1]
    return callback, scales(throw, seed, STEPS, rule)


@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
@pytest.mark.parametrize("throw", [THROW, LARGE], ids=["margin", "beyond 1"])
@pytest.mark.parametrize("accumulate", [1, 3])
def test_it_equals_a_plain_loop(optimizer, throw, accumulate):
    callback, expected = rolls(throw)
    model = Toy(optimizer)
    fit(model, [callback], max_steps=STEPS, accumulate_grad_batches=accumulate)
    weights, _ = train(optimizer, STEPS, expected, accumulate=accumulate)
    assert any(scale is None for scale in expected)
    assert same(model.weights(), weights)


@pytest.mark.parametrize(
    ("algorithm", "clip"), [("norm", clip_by_norm(0.01)), ("value", clip_by_value(0.01))]
)
@pytest.mark.parametrize("throw", [THROW, LARGE], ids=["margin", "beyond 1"])
def test_it_clips_first_and_rolls_second(algorithm, clip, throw):
    callback, expected = rolls(throw)
    model = Toy(sgd)
    settings = {"gradient_clip_val": 0.01, "gradient_clip_algorithm": algorithm}
    fit(model, [callback], max_steps=STEPS, **settings)
    weights, _ = train(sgd, STEPS, expected, clip=clip)
    unrolled, _ = train(sgd, STEPS, clip=clip)
    assert same(model.weights(), weights)
    assert not same(weights, unrolled)


class OwnClipping(Toy):
    def __init__(self):
        super().__init__(sgd)
        self.norms = []

    def configure_gradient_clipping(
        self, optimizer, gradient_clip_val=None, gradient_clip_algorithm=None
    ):
        self.norms.append(float(torch.nn.utils.clip_grad_norm_(self.parameters(), 0.01)))


def test_the_users_own_clipping_runs_once_on_the_raw_gradient():
    callback, expected = rolls(THROW)
    model = OwnClipping()
    fit(model, [callback], max_steps=STEPS)
    weights, _ = train(sgd, STEPS, expected, clip=clip_by_norm(0.01))
    assert same(model.weights(), weights)
    assert len(model.norms) == STEPS
    plain = OwnClipping()
    fit(plain, max_steps=1)
    assert model.norms[0] == plain.norms[0]


def test_a_module_that_clips_in_its_own_hook_clips_first():
    class Hook(Toy):
        def on_before_optimizer_step(self, optimizer):
            torch.nn.utils.clip_grad_norm_(self.parameters(), 0.01)

    callback, expected = rolls(THROW)
    model = Hook(sgd)
    fit(model, [callback], max_steps=STEPS)
    weights, _ = train(sgd, STEPS, expected, clip=clip_by_norm(0.01))
    assert same(model.weights(), weights)


def test_the_module_is_left_as_it_was():
    model = Toy(sgd)
    before = set(vars(model))
    fit(model, [SavingThrowCallback(THROW, seed=0)], gradient_clip_val=1.0)
    fit(model, [SavingThrowCallback(THROW, granularity="per_mini_batch", seed=0)])
    leftover = set(vars(model)) - before
    assert not leftover & {"configure_gradient_clipping", "backward"}


class Raises(Toy):
    def training_step(self, batch, batch_idx):
        raise RuntimeError("the user's own")


def test_the_module_is_left_as_it_was_after_an_error():
    model = Raises(sgd)
    with pytest.raises(RuntimeError, match="the user's own"):
        fit(model, [SavingThrowCallback(THROW, seed=0)], gradient_clip_val=1.0)
    assert "configure_gradient_clipping" not in vars(model)


@pytest.mark.parametrize("clip", [None, 0.01])
def test_two_saving_throws_multiply(clip):
    one, two = SavingThrow("d4", 2, [2.0] * 4), SavingThrow("d6", 2, [0.25] * 6)
    callbacks = [SavingThrowCallback(one, seed=0), SavingThrowCallback(two, seed=0)]
    model = Toy(sgd)
    fit(model, callbacks, max_steps=5, gradient_clip_val=clip)
    weights, _ = train(sgd, 5, [0.5] * 5, clip=clip_by_norm(clip) if clip else lambda p: None)
    assert same(model.weights(), weights)
    assert "configure_gradient_clipping" not in vars(model)


class TwoOptimizers(Toy):
    """By hand, like a GAN: the second optimizer steps on every other batch."""

    def __init__(self):
        super().__init__(sgd)
        self.automatic_optimization = False
        self.seen = []

    def configure_optimizers(self):
        first, last = self.net[0], self.net[2]
        return [torch.optim.SGD(layer.parameters(), lr=0.1) for layer in (first, last)]

    def training_step(self, batch, batch_idx):
        first, last = self.optimizers()
        loss = super().training_step(batch, batch_idx)
        first.zero_grad()
        last.zero_grad()
        self.manual_backward(loss)
        raw = [p.grad.clone() for p in self.parameters()]
        for index, optimizer in enumerate((first, last)):
            if index == 0 or batch_idx % 2:
                step = self.trainer.global_step
                optimizer.step()
                now = [p.grad if p.grad is None else p.grad.clone() for p in self.parameters()]
                self.seen.append((index, step, raw, now))


def test_only_the_parameters_of_the_optimizer_that_steps_are_touched():
    model, callback = TwoOptimizers(), SavingThrowCallback(THROW, seed=5)
    fit(model, [callback], max_steps=STEPS)
    records = list(callback.rolls.recent)
    assert {record.optimizer for record in records} == {0, 1}
    own = {0: slice(0, 2), 1: slice(2, 4)}
    before = None
    for (index, step, raw, now), record in zip(model.seen, records, strict=True):
        assert (record.optimizer, record.step) == (index, step)
        if index == 0:
            before = raw
        expected = [None if record.scale is None else g * record.scale for g in raw[own[index]]]
        for gradient, wanted in zip(now[own[index]], expected, strict=True):
            assert (gradient is None) if wanted is None else torch.equal(gradient, wanted)
        if index == 0:
            assert same(now[own[1]], before[own[1]])


def test_lbfgs_sees_one_roll_per_step():
    model = Toy(lambda parameters: torch.optim.LBFGS(parameters, lr=0.1, max_iter=4))
    callback = SavingThrowCallback(SavingThrow("d20", 10, "margin"), seed=0)
    fit(model, [callback], max_steps=8)
    assert len(model.losses) > 8, "the closure ran more often than the optimizer stepped"
    assert [record.step for record in callback.rolls.recent] == list(range(8))


def test_manual_optimization_rolls_after_clipping_by_hand():
    class Manual(Toy):
        def __init__(self):
            super().__init__(sgd)
            self.automatic_optimization = False

        def training_step(self, batch, batch_idx):
            optimizer = self.optimizers()
            optimizer.zero_grad()
            self.manual_backward(super().training_step(batch, batch_idx))
            self.clip_gradients(optimizer, 0.01, "norm")
            optimizer.step()

    callback, expected = rolls(THROW)
    model = Manual()
    fit(model, [callback], max_steps=STEPS)
    weights, _ = train(sgd, STEPS, expected, clip=clip_by_norm(0.01))
    assert same(model.weights(), weights)
