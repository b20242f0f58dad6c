"""target=update: w <- w + s x (the optimizer's own step), state as for the full step."""

import copy

import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.plugins.precision import MixedPrecision

from lightning_dice import SavingThrow, SavingThrowCallback
from lightning_dice.updates import rides_on_learning_rate
from support.reference import margin_d20, scales
from support.toy import OPTIMIZERS, Toy, fit, same

STEPS = 25
THROW = SavingThrow("d20", threshold=10)
LARGE = SavingThrow("d4", 2, scaling=[3.0, -0.5, None, 0.0])
NOTHING = SavingThrow("d4", 2, scaling=[None] * 4)


def optimizer(name, **settings):
    return lambda parameters: getattr(torch.optim, name)(parameters, **settings)


LINEAR = {
    **OPTIMIZERS,
    "adagrad": optimizer("Adagrad", lr=0.1, lr_decay=0.1),
    "tensor lr": lambda parameters: torch.optim.AdamW(parameters, lr=torch.tensor(0.05)),
}
OTHER = {
    "adafactor": optimizer("Adafactor", lr=0.05),
    "asgd": optimizer("ASGD", lr=0.1, t0=2),
    "rprop": optimizer("Rprop", lr=0.05),
}


class Twin(Callback):
    """Before every step a copy of everything makes the optimizer's own step, in full."""

    def __init__(self):
        self.worst = 0.0
        self.states_agree = True

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        self.before = pl_module.weights()
        twin = copy.deepcopy(optimizer)
        own = [p for group in twin.param_groups for p in group["params"]]
        for mine, parameter in zip(own, pl_module.parameters(), strict=True):
            mine.grad = parameter.grad.clone()
        type(twin).step(twin)
        self.after = [p.detach() for p in own]
        self.state = twin.state_dict()

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        (dice,) = (c for c in trainer.callbacks if isinstance(c, SavingThrowCallback))
        scale = dice.last_roll.scale or 0.0
        now = pl_module.weights()
        for weight, before, after in zip(now, self.before, self.after, strict=True):
            wanted = before.double() + scale * (after.double() - before.double())
            error = (weight.double() - wanted).abs().max() / wanted.abs().max()
            self.worst = max(self.worst, error.item())
        self.states_agree &= str(trainer.optimizers[0].state_dict()) == str(self.state)
        if scale == 0:
            assert same(now, self.before), "not a bit moves"


@pytest.mark.parametrize("factory", [*LINEAR.values(), *OTHER.values()], ids=[*LINEAR, *OTHER])
@pytest.mark.parametrize("throw", [THROW, LARGE], ids=["margin", "beyond 1"])
def test_weights_move_by_scale_times_the_own_step(factory, throw):
    twin = Twin()
    callback = SavingThrowCallback(throw, target="update", seed=2)
    fit(Toy(factory), [twin, callback], max_steps=STEPS)
    assert twin.worst <= 1e-6
    assert twin.states_agree, "the state advances as for the full step"
    assert any(record.scale is None for record in callback.rolls.recent)


@pytest.mark.parametrize("name", LINEAR)
def test_the_factor_rides_on_the_learning_rate_at_no_cost_in_memory(name, monkeypatch):
    clones = []
    clone = torch.Tensor.clone
    monkeypatch.setattr(torch.Tensor, "clone", lambda t, **k: clones.append(t.dim()) or clone(t))

    def count(callbacks):
        clones.clear()
        trainer = fit(Toy(LINEAR[name]), callbacks)
        assert rides_on_learning_rate(trainer.optimizers[0])
        return sum(dim > 0 for dim in clones)

    kept = SavingThrow("d4", 2, scaling=[-0.5, 0.25, 2.0, 1.0])
    assert count([SavingThrowCallback(kept, target="update", seed=0)]) == count([])


@pytest.mark.parametrize("name", OTHER)
def test_what_is_not_known_to_be_linear_is_copied_and_said_once(name, caplog):
    with caplog.at_level("INFO"):
        fit(Toy(OTHER[name]), [SavingThrowCallback(THROW, target="update", seed=0)])
    said = [record.message for record in caplog.records if "copied in every step" in record.message]
    assert len(said) == 1
    assert "not known to be linear" in said[0]


def test_a_class_of_the_users_own_is_not_known_to_be_linear():
    class Mine(torch.optim.SGD):
        pass

    weight = torch.nn.Parameter(torch.ones(1))
    assert rides_on_learning_rate(torch.optim.SGD([weight]))
    assert not rides_on_learning_rate(Mine([weight]))


def test_double_precision_needs_a_learning_rate_of_its_own():
    """A float32 tensor times a scale has 7 digits, where a parameter has 16."""
    weight = torch.nn.Parameter(torch.ones(1, dtype=torch.float64))
    assert not rides_on_learning_rate(torch.optim.AdamW([weight], lr=torch.tensor(0.1)))
    assert rides_on_learning_rate(torch.optim.AdamW([weight], lr=0.1))


@pytest.mark.filterwarnings("ignore:.*every roll discards")
@pytest.mark.parametrize("factory", [*LINEAR.values(), *OTHER.values()], ids=[*LINEAR, *OTHER])
def test_a_discard_leaves_weights_and_advances_the_state(factory):
    model = Toy(factory)
    before = model.weights()
    trainer = fit(model, [SavingThrowCallback(NOTHING, target="update", seed=0)], max_steps=5)
    assert same(model.weights(), before)
    steps = [entry.get("step") for entry in trainer.optimizers[0].state.values()]
    assert all(step is None or int(step) == 5 for step in steps)


@pytest.mark.filterwarnings("ignore:.*every roll discards")
def test_a_discard_leaves_weights_even_where_the_step_is_not_finite():
    class Poisoned(Toy):
        def training_step(self, batch, batch_idx):
            return super().training_step(batch, batch_idx) * torch.inf

    for factory in OPTIMIZERS.values():
        model = Poisoned(factory)
        before = model.weights()
        fit(model, [SavingThrowCallback(NOTHING, target="update", seed=0)], max_steps=3)
        assert same(model.weights(), before)


class Rates(Toy):
    """Notes the learning rate wherever user code may look at it."""

    def __init__(self, factory):
        super().__init__(factory)
        self.seen = []

    def look(self, where):
        (optimizer,) = self.trainer.optimizers
        self.seen += [(where, g["lr"], len(g["params"])) for g in optimizer.param_groups]

    def configure_optimizers(self):
        optimizer = super().configure_optimizers()
        scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)
        return [optimizer], [{"scheduler": scheduler, "interval": "step"}]

    def training_step(self, batch, batch_idx):
        self.look("step")
        return super().training_step(batch, batch_idx)

    def on_before_optimizer_step(self, optimizer):
        self.look("before")

    def configure_gradient_clipping(self, *args, **kwargs):
        self.look("clip")

    def on_before_zero_grad(self, optimizer):
        self.look("zero")

    def lr_scheduler_step(self, scheduler, metric):
        self.look("scheduler")
        scheduler.step()

    def on_train_batch_end(self, *args):
        self.look("end")


class Overflows(Rates):
    """An infinite loss now and then, which a gradient scaler answers by skipping the step."""

    def training_step(self, batch, batch_idx):
        loss = super().training_step(batch, batch_idx)
        return loss * torch.inf if batch_idx in (2, 3, 7) else loss


@pytest.mark.parametrize("scope", ["model", "tensor"])
@pytest.mark.parametrize("model", [Rates, Overflows])
@pytest.mark.parametrize("factory", [OPTIMIZERS["adamw"], LINEAR["tensor lr"]])
def test_nobody_ever_sees_a_scaled_learning_rate(scope, model, factory):
    def run(callbacks):
        settings = {}
        if model is Overflows:
            scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
            settings["plugins"] = MixedPrecision("16-mixed", "cpu", scaler)
        trained = model(factory)
        trainer = fit(trained, callbacks, max_steps=10, **settings)
        return trained, trainer.optimizers[0].state_dict()["param_groups"]

    diced, saved = run([SavingThrowCallback(LARGE, target="update", scope=scope, seed=0)])
    plain, expected = run([])
    assert diced.seen == plain.seen
    assert saved == expected


class Fails(Callback):
    """Raises in a hook of the optimizer, right after its step."""

    def on_train_start(self, trainer, pl_module):
        (self.optimizer,) = trainer.optimizers
        self.groups = self.optimizer.param_groups
        self.optimizer.register_step_post_hook(self.fail)

    def fail(self, *args):
        raise RuntimeError("the user's own")


@pytest.mark.parametrize("scope", ["model", "tensor"])
def test_the_learning_rate_is_whole_when_a_step_raises(scope):
    fails, model = Fails(), Toy(OPTIMIZERS["sgd"])
    callback = SavingThrowCallback(LARGE, target="update", scope=scope, seed=0)
    with pytest.raises(RuntimeError, match="the user's own"):
        fit(model, [fails, callback])
    assert fails.optimizer.param_groups is fails.groups
    assert [group["lr"] for group in fails.groups] == [0.1]
    assert "step" not in vars(fails.optimizer)


@pytest.mark.parametrize("target", ["gradient", "update"])
def test_a_clip_in_the_optimizers_own_pre_hook_comes_first(target):
    """By hand and with a scaler, people clip in a step pre-hook; it is the last of their hooks."""

    class Clips(Toy):
        def configure_optimizers(self):
            optimizer = super().configure_optimizers()
            optimizer.register_step_pre_hook(self.clip)
            return optimizer

        def clip(self, *args):
            torch.nn.utils.clip_grad_norm_(self.parameters(), 0.01)

    def run(callbacks):
        scaler = torch.amp.GradScaler("cpu", init_scale=1.0)
        model = Clips(OPTIMIZERS["sgd"])
        before = model.weights()
        settings = {"plugins": MixedPrecision("16-mixed", "cpu", scaler), "max_steps": 1}
        fit(model, callbacks, **settings)
        moved = zip(model.weights(), before, strict=True)
        return torch.cat([(now - then).flatten() for now, then in moved])

    half = SavingThrow("d4", 2, [0.5] * 4)
    ours = run([SavingThrowCallback(half, target=target, seed=0)])
    torch.testing.assert_close(ours, 0.5 * run([]), rtol=1e-3, atol=1e-7)


def test_rolls_are_those_of_the_gradient_target():
    expected = scales(THROW, 7, 10, margin_d20)
    for target in ("gradient", "update"):
        callback = SavingThrowCallback(THROW, target=target, seed=7)
        fit(Toy(OPTIMIZERS["sgd"]), [callback])
        assert [record.scale for record in callback.rolls.recent] == expected


def test_two_saving_throws_multiply_whatever_their_targets():
    halves = [SavingThrow("d4", 2, [2.0] * 4), SavingThrow("d6", 2, [0.25] * 6)]
    for targets in (("update", "update"), ("gradient", "update"), ("update", "gradient")):
        for name in ("sgd", "rprop" if targets[0] == targets[1] else "sgd"):
            factory = {**LINEAR, **OTHER}[name]
            callbacks = [
                SavingThrowCallback(throw, target=target, seed=0)
                for throw, target in zip(halves, targets, strict=True)
            ]
            model, plain = Toy(factory), Toy(factory)
            before = model.weights()
            fit(model, callbacks, max_steps=1)
            fit(plain, max_steps=1)
            for now, full, then in zip(model.weights(), plain.weights(), before, strict=True):
                torch.testing.assert_close(now, then + 0.5 * (full - then))
