"""target=update, for optimizers that nobody here has seen: torch's protocol is all they share.

A second optimizer of the same making is given the weights that every step starts from, makes each
step in full, and has to agree in all of its state.
"""

import pytest
import torch
from lightning.pytorch import Callback

from support.by_hand import FACTORS, FULL, KINDS, apart, dice, factor, leaves
from support.toy import Toy, adamw, loader, loss_of, network, quiet_trainer, same

STEPS = 24


class SharpnessAware(torch.optim.Optimizer):
    """Moves the weights uphill between two evaluations of the gradients, and back again."""

    def __init__(self, parameters, lr=0.1, rho=0.2, momentum=0.9):
        super().__init__(parameters, {"lr": lr, "rho": rho, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure):
        evaluate = torch.enable_grad()(closure)
        evaluate()
        parameters = [p for group in self.param_groups for p in group["params"]]
        norm = torch.stack([p.grad.norm() for p in parameters]).norm()
        held = [p.clone() for p in parameters]
        for group in self.param_groups:
            for p in group["params"]:
                p.add_(p.grad, alpha=group["rho"] / norm.item())
        loss = evaluate()
        for p, start in zip(parameters, held, strict=True):
            p.copy_(start)
        for group in self.param_groups:
            for p in group["params"]:
                momentum = self.state[p].setdefault("momentum", torch.zeros_like(p))
                momentum.mul_(group["momentum"]).add_(p.grad)
                p.sub_(momentum, alpha=group["lr"])
        return loss


class LooksAhead:
    """A wrapper that is no ``torch.optim.Optimizer``, and moves the weights after another one."""

    def __init__(self, inner, every=3, part=0.5):
        self.inner, self.every, self.part, self.count = inner, every, part, 0
        parameters = [p for group in inner.param_groups for p in group["params"]]
        self.slow = {p: p.detach().clone() for p in parameters}

    param_groups = property(lambda self: self.inner.param_groups)
    defaults = property(lambda self: self.inner.defaults)
    state = property(lambda self: self.inner.state)

    def zero_grad(self, set_to_none=True):
        self.inner.zero_grad(set_to_none)

    def state_dict(self):
        return {"inner": self.inner.state_dict(), "slow": list(self.slow.values())}

    def load_state_dict(self, state):
        self.inner.load_state_dict(state["inner"])

    @torch.no_grad()
    def step(self, closure=None):
        loss = self.inner.step(closure)
        self.count += 1
        if self.count % self.every == 0:
            for p, slow in self.slow.items():
                p.copy_(slow.lerp_(p, self.part))
        return loss


def of(package, name, **settings):
    def make(parameters):
        return getattr(pytest.importorskip(package), name)(list(parameters), **settings)

    return make


def packaged_look_ahead(parameters):
    package = pytest.importorskip("pytorch_optimizer")
    return package.Lookahead(adamw(list(parameters)), k=3)


MAKERS = {
    "schedule-free AdamW": of("schedulefree", "AdamWScheduleFree", lr=0.05, warmup_steps=4),
    "schedule-free SGD": of("schedulefree", "SGDScheduleFree", lr=0.5, weight_decay=0.01),
    "Lion": of("pytorch_optimizer", "Lion", lr=0.02, weight_decay=0.1),
    "AdaBelief": of("pytorch_optimizer", "AdaBelief", lr=0.05, weight_decay=0.1),
    "Prodigy": of("pytorch_optimizer", "Prodigy", lr=1.0),
    "Adan": of("pytorch_optimizer", "Adan", lr=0.05),
    "packaged Lookahead": packaged_look_ahead,
    "sharpness-aware": SharpnessAware,
    "wrapper": lambda parameters: LooksAhead(adamw(parameters)),
}


class Trains(Toy):
    """Tells its optimizer what it is about, where that wants to be told; validates within."""

    def training_step(self, batch, batch_idx):
        return loss_of(self.net, batch)

    def validation_step(self, batch, batch_idx):
        return None

    def turn(self, mode):
        for optimizer in self.trainer.optimizers:
            getattr(optimizer, mode, lambda: None)()

    def on_train_epoch_start(self):
        self.turn("train")

    def on_validation_epoch_start(self):
        self.turn("eval")

    def on_validation_epoch_end(self):
        self.turn("train")


class Twin(Callback):
    """Makes every step in full, from the weights that it starts from."""

    def __init__(self, factory):
        self.net = network()
        self.optimizer = factory(self.net.parameters())
        getattr(self.optimizer, "train", lambda: None)()
        self.worst, self.moved = 0.0, 0

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.before = pl_module.weights()
        with torch.no_grad():
            for parameter, weight in zip(self.net.parameters(), self.before, strict=True):
                parameter.copy_(weight)

        def closure():
            self.optimizer.zero_grad()
            loss = loss_of(self.net, batch)
            loss.backward()
            return loss

        self.optimizer.step(closure)

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        scale = factor(trainer.global_step - 1) or 0.0
        now = pl_module.weights()
        own = zip(self.before, self.net.parameters(), strict=True)
        wanted = [b.double() + scale * (a.detach().double() - b.double()) for b, a in own]
        self.worst = max(self.worst, apart(now, wanted))
        if scale == 0:
            assert same(now, self.before), "not a bit moves"
        self.moved += not same(now, self.before)
        (optimizer,) = trainer.optimizers
        assert leaves(optimizer.state_dict()) == leaves(self.optimizer.state_dict())


def run(model, callbacks):
    settings = {"max_epochs": 2, "max_steps": -1, "val_check_interval": 5}
    trainer = quiet_trainer(callbacks, num_sanity_val_steps=0, **settings)
    trainer.fit(model, loader(), loader())
    return trainer


@pytest.mark.parametrize("factory", MAKERS.values(), ids=MAKERS)
def test_weights_move_by_scale_times_the_own_step(factory):
    torch.manual_seed(0)
    callback, twin = dice("update"), Twin(factory)
    run(Trains(factory), [twin, callback])
    scales = [record.scale for record in callback.rolls.recent]
    assert set(scales) == set(FACTORS)
    assert twin.moved > STEPS / 2
    assert twin.worst <= 1e-6


@pytest.mark.parametrize("factory", MAKERS.values(), ids=MAKERS)
@pytest.mark.parametrize("kind", KINDS)
def test_scale_1_is_training_without_dice(kind, factory):
    diced, plain = Trains(factory), Trains(factory)
    trainers = run(diced, [dice(kind, FULL)]), run(plain, [])
    assert same(diced.weights(), plain.weights())
    states = [leaves(trainer.optimizers[0].state_dict()) for trainer in trainers]
    assert states[0] == states[1]
    assert "step" not in vars(trainers[0].optimizers[0])
