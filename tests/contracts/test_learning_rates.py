"""Whoever looks at a learning rate sees the true one, and averages are of the diced weights."""

import functools
import sys
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import (
    Callback,
    EMAWeightAveraging,
    LearningRateMonitor,
    ModelCheckpoint,
    StochasticWeightAveraging,
    WeightAveraging,
)
from lightning.pytorch.loggers.logger import DummyLogger
from lightning.pytorch.plugins.precision import MixedPrecision
from torch import nn
from torch.optim import lr_scheduler

from support.by_hand import (
    EXACT,
    FULL,
    KINDS,
    TARGETS,
    THROW,
    apart,
    dice,
    leaves,
    train,
    windows,
)
from support.toy import BATCHES, Toy, adamw, fit, loss_of, momentum, same

EPOCHS = 2
SCHEDULES = {
    "step": ("step", lambda o: lr_scheduler.ExponentialLR(o, 0.9)),
    "epoch": ("epoch", lambda o: lr_scheduler.StepLR(o, 1, 0.5)),
    "one cycle": ("step", lambda o: lr_scheduler.OneCycleLR(o, 0.1, total_steps=30)),
    "plateau": ("epoch", lambda o: lr_scheduler.ReduceLROnPlateau(o, factor=0.3, patience=0)),
}


def rates(optimizer):
    """What user code may read off the groups, one by one."""
    momenta = ("momentum", "betas", "weight_decay")
    return [
        (float(group["lr"]), len(group["params"]), [group.get(name) for name in momenta])
        for group in optimizer.param_groups
    ]


class Looks(Toy):
    """Notes the learning rate wherever user code may look at it."""

    def __init__(self, factory, schedule, overflows=()):
        super().__init__(factory)
        self.schedule, self.overflows = schedule, overflows
        self.seen: list[Any] = []

    def look(self, where, optimizer=None):
        self.seen.append((where, rates(optimizer or self.trainer.optimizers[0])))

    def configure_optimizers(self):
        interval, schedule = self.schedule
        optimizer = self.factory(self.parameters())
        optimizer.register_step_pre_hook(lambda o, *_: self.look("pre hook", o))
        optimizer.register_step_post_hook(lambda o, *_: self.look("post hook", o))
        scheduler = {"scheduler": schedule(optimizer), "interval": interval, "monitor": "flat"}
        return {"optimizer": optimizer, "lr_scheduler": scheduler}

    def training_step(self, batch, batch_idx):
        self.look("training_step")
        self.log("flat", 1.0)
        loss = loss_of(self.net, batch)
        return loss * torch.inf if batch_idx in self.overflows else loss

    def on_before_zero_grad(self, optimizer):
        self.look("zero_grad", optimizer)

    def on_before_optimizer_step(self, optimizer):
        self.look("before step", optimizer)

    def configure_gradient_clipping(self, optimizer, *args, **kwargs):
        self.look("clipping", optimizer)

    def lr_scheduler_step(self, scheduler, metric):
        self.look("scheduler")
        scheduler.step() if metric is None else scheduler.step(metric)
        self.seen.append([float(lr) for lr in scheduler.get_last_lr()])

    def on_train_batch_end(self, *args):
        self.look("end")

    def on_save_checkpoint(self, checkpoint):
        self.seen.append(leaves([s["param_groups"] for s in checkpoint["optimizer_states"]]))
        self.seen.append(leaves(checkpoint["lr_schedulers"]))


class Keeps(DummyLogger):
    """Keeps what LearningRateMonitor says."""

    def __init__(self):
        super().__init__()
        self.kept: list[Any] = []

    def log_metrics(self, metrics, step=None):
        kept = {name: value for name, value in metrics.items() if name.startswith("lr-")}
        self.kept += [(step, kept)] if kept else []


def look_around(model, callbacks, folder, **settings):
    logger, monitor = Keeps(), LearningRateMonitor(log_momentum=True)
    saves = ModelCheckpoint(folder, every_n_train_steps=4, save_top_k=-1)
    more = {"logger": logger, "enable_checkpointing": True, "log_every_n_steps": 1}
    callbacks = [*callbacks, monitor, saves]
    trainer = fit(model, callbacks, max_steps=-1, max_epochs=EPOCHS, **more, **settings)
    return model.seen, logger.kept, leaves(trainer.optimizers[0].state_dict()["param_groups"])


@pytest.mark.filterwarnings(
    "ignore:gradient clipping comes after the rolls", "ignore:.*scheduler.step.* before"
)
@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
@pytest.mark.parametrize(
    ("kind", "overflows"),
    # A mini-batch that is discarded does not overflow, so that its step is another one.
    [*((kind, ()) for kind in KINDS), *((kind, (0, 2, 3, 7)) for kind in TARGETS)],
)
def test_everybody_sees_the_learning_rates_of_training_without_dice(
    kind, schedule, overflows, tmp_path
):
    def run(name, callbacks):
        settings = {}
        if overflows:
            scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
            settings["plugins"] = MixedPrecision("16-mixed", "cpu", scaler)
        return look_around(
            Looks(momentum, schedule, overflows), callbacks, tmp_path / name, **settings
        )

    diced, plain = run("diced", [dice(kind)]), run("plain", [])
    assert len({str(entry) for entry in plain[1]}) >= EPOCHS, "the monitor had something to say"
    assert diced == plain


@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
@pytest.mark.parametrize("kind", KINDS)
def test_a_scheduled_step_is_that_of_a_plain_loop(kind, schedule):
    made = []

    def by_hand(parameters):
        optimizer = adamw(parameters)
        made.append(schedule[1](optimizer))
        return optimizer

    def after(optimizer, step):
        if schedule[0] == "step" or step % BATCHES == BATCHES - 1:
            metric = [1.0] if isinstance(made[0], lr_scheduler.ReduceLROnPlateau) else []
            made[0].step(*metric)

    class Scheduled(Looks):
        on_before_optimizer_step = Toy.on_before_optimizer_step
        configure_gradient_clipping = Toy.configure_gradient_clipping

    model = Scheduled(adamw, schedule)
    fit(model, [dice(kind)], max_steps=-1, max_epochs=EPOCHS, precision="64-true")
    steps = windows([1] * EPOCHS * BATCHES)
    assert apart(model.weights(), train(by_hand, kind, steps, schedule=after)) < EXACT


class OwnHook(torch.optim.AdamW):
    """It is not torch's own class, so that weights are copied."""


@pytest.mark.parametrize("optimizer", [torch.optim.AdamW, OwnHook])
@pytest.mark.parametrize("kind", KINDS)
def test_hooks_after_the_step_find_the_true_rate_and_the_weights_as_the_roll_left_them(
    kind, optimizer
):
    """Someone who keeps weights small, and someone who schedules, in a hook of the optimizer."""

    def after(optimizer, *_):
        for group in optimizer.param_groups:
            group["lr"] *= 0.9
            for parameter in group["params"]:
                parameter.data.clamp_(-0.5, 0.5)

    def hooked(parameters):
        made = optimizer(parameters, lr=0.05)
        made.register_step_post_hook(after)
        return made

    model = Toy(hooked)
    fit(model, [dice(kind)], max_steps=12, precision="64-true")
    by_hand = lambda parameters: torch.optim.AdamW(parameters, lr=0.05)  # noqa: E731
    assert apart(model.weights(), train(by_hand, kind, windows([1] * 12), schedule=after)) < EXACT


class SchedulesLate(Toy):
    """Makes its scheduler during training, on an optimizer that is rolled for already."""

    scheduler = None

    def on_train_batch_start(self, batch, batch_idx):
        if batch_idx == 4:
            self.scheduler = lr_scheduler.ExponentialLR(self.trainer.optimizers[0], 0.8)

    def on_train_batch_end(self, *args):
        if self.scheduler is not None:
            self.scheduler.step()


@pytest.mark.parametrize("kind", KINDS)
def test_a_scheduler_made_during_training_works(kind):
    model, callback = SchedulesLate(adamw), dice(kind)
    trainer = fit(model, [callback], max_steps=12, precision="64-true")

    def after(optimizer, step):
        for group in optimizer.param_groups:
            group["lr"] *= 0.8 if step >= 4 else 1

    assert apart(model.weights(), train(adamw, kind, windows([1] * 12), schedule=after)) < EXACT
    assert model.scheduler.get_last_lr() == [pytest.approx(0.05 * 0.8**8)]
    assert hasattr(trainer.optimizers[0].step, "_wrapped_by_lr_sched"), "torch's own is left"


class BreaksOff(torch.optim.SGD):
    """Moves a part of the weights in its third step, and raises."""

    steps = 0

    @torch.no_grad()
    def step(self, closure=None):
        self.steps += 1
        if self.steps < 3:
            return super().step(closure)
        with torch.enable_grad():
            closure()
        self.param_groups[0]["params"][0].add_(1)
        raise RuntimeError("the user's own")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("known", [False, True], ids=["users own", "torch's"])
def test_a_step_that_raises_leaves_the_groups_and_their_rates(kind, known, monkeypatch):
    module = sys.modules["torch.optim.sgd"]
    calls, torchs = [], module.sgd

    def breaks(*args, **kwargs):
        calls.append(kwargs["lr"])
        torchs(*args, **kwargs)
        if len(calls) >= 3:
            raise RuntimeError("the user's own")

    if known:  # right in the middle, where the learning rate is another one
        monkeypatch.setattr(module, "sgd", breaks)
    made = []

    def factory(parameters):
        made.append((torch.optim.SGD if known else BreaksOff)(parameters, lr=0.1))
        made.append(made[0].param_groups)
        return made[0]

    with pytest.raises(RuntimeError, match="the user's own"):
        fit(Toy(factory), [dice(kind)])
    optimizer, groups = made
    assert optimizer.param_groups is groups
    assert [(group["lr"], len(group["params"])) for group in groups] == [(0.1, 4)]
    assert "step" not in vars(optimizer)
    assert not optimizer._optimizer_step_pre_hooks
    assert not optimizer._optimizer_step_post_hooks


class Normed(Toy):
    """With batch normalization."""

    def __init__(self, factory):
        super().__init__(factory)
        self.net.insert(1, nn.BatchNorm1d(5))


class Records(Callback):
    """The weights after every batch, and where every epoch starts."""

    def __init__(self):
        self.after: list[Any] = []
        self.starts: list[Any] = []

    def on_train_epoch_start(self, trainer, pl_module):
        self.starts.append(pl_module.weights())

    def on_train_batch_end(self, trainer, pl_module, *args):
        self.after.append(pl_module.weights())


def mean(rows):
    return [torch.stack(column).double().mean(0) for column in zip(*rows, strict=True)]


def ema(rows, decay):
    average = [first.double() for first in rows[0]]
    for row in rows[1:]:
        average = [decay * a + (1 - decay) * b for a, b in zip(average, row, strict=True)]
    return average


AVERAGES = {
    "mean": (WeightAveraging, lambda seen: mean(seen.after)),
    "moving": (lambda: EMAWeightAveraging(decay=0.9), lambda seen: ema(seen.after, 0.9)),
    # From the second epoch on, what each of them starts from.
    "stochastic": (
        lambda: StochasticWeightAveraging(swa_lrs=0.03, swa_epoch_start=2, annealing_epochs=2),
        lambda seen: mean(seen.starts[1:4]),
    ),
}


@functools.cache
def averaged(model, average, kind=None, throw=THROW):
    """What was trained, what was seen of it, and the learning rate that it ended with."""
    seen, trained = Records(), model(adamw)
    callbacks = [dice(kind, throw)] if kind else []
    trainer = fit(trained, [*callbacks, average(), seen], max_steps=-1, max_epochs=4)
    return trained, seen, trainer.optimizers[0].param_groups[0]["lr"]


@pytest.mark.filterwarnings("ignore:.*nothing was rolled for")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("model", [Toy, Normed])
@pytest.mark.parametrize(("average", "expected"), AVERAGES.values(), ids=AVERAGES)
def test_averages_are_of_the_diced_weights(average, expected, model, kind):
    trained, seen, rate = averaged(model, average, kind)
    # For batch normalization Lightning runs one more epoch, and steps at its end by gradients that
    # the last batch before it left: no mini-batch was propagated, and nothing rolled for it.
    late = model is Normed and len(seen.starts) > 4
    assert apart(seen.starts[-1] if late else trained.weights(), expected(seen)) < 1e-6
    full, _, full_rate = averaged(model, average, kind, FULL)
    plain, _, plain_rate = averaged(model, average)
    assert same(full.state_dict().values(), plain.state_dict().values())
    assert rate == full_rate == plain_rate
    assert not same(trained.weights(), plain.weights())
