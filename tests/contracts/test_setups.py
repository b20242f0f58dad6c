"""Whatever the Trainer and the module do about steps, what is rolled acts as the rule says.

Trained in float64, so that a plain loop is matched to 12 digits and not to what float32 leaves.
"""

import signal
from typing import NamedTuple

import pytest
import torch
from lightning.pytorch.callbacks import Callback, GradientAccumulationScheduler
from lightning.pytorch.tuner import Tuner

from lightning_dice import DiceLightningModule
from support.by_hand import (
    EXACT,
    KINDS,
    SEED,
    THROW,
    Window,
    apart,
    dice,
    factor,
    fit_exactly,
    roll,
    train,
    windows,
)
from support.toy import BATCHES, Toy, adamw, data, loader, loss_of, momentum, quiet_trainer, same


class Validates(Toy):
    def validation_step(self, batch, batch_idx):
        self.log("val_loss", loss_of(self.net, batch))


class SkipsBatches(Toy):
    """Has nothing to say about every third batch."""

    def training_step(self, batch, batch_idx):
        return None if batch_idx % 3 == 1 else super().training_step(batch, batch_idx)


class StepsEveryOtherBatch(Toy):
    """The pattern of Lightning's documentation."""

    def optimizer_step(self, epoch, batch_idx, optimizer, optimizer_closure=None):
        if batch_idx % 2 == 0:
            optimizer.step(closure=optimizer_closure)
        else:
            optimizer_closure()


class CallsTheClosureItself(Toy):
    def optimizer_step(self, epoch, batch_idx, optimizer, optimizer_closure=None):
        optimizer_closure()
        optimizer.step()


class Setup(NamedTuple):
    """How a Trainer is set up, and the optimizer steps that come of it."""

    steps: list[Window]
    settings: dict
    model: type[Toy] = Toy
    size: int = BATCHES
    callbacks: tuple = ()
    batches: range | None = None
    """The mini-batches that are propagated, if not just those that steps are made of."""


SETUPS = {
    "a last partial window": Setup(
        windows([5, 5, 2], [5, 5, 2], divisor=5), {"max_epochs": 2, "accumulate_grad_batches": 5}
    ),
    "max_steps within an epoch": Setup(
        windows([5, 5, 2], [5], divisor=5), {"max_steps": 4, "accumulate_grad_batches": 5}
    ),
    "an epoch cut off within a window": Setup(
        windows([3, 3, 1], [3, 3, 1], divisor=3),
        {"max_epochs": 2, "accumulate_grad_batches": 3, "limit_train_batches": 7},
        size=7,
    ),
    "accumulation by schedule": Setup(
        windows([1] * 12, [4] * 3),
        {"max_epochs": 2},
        callbacks=(lambda: GradientAccumulationScheduler({0: 1, 1: 4}),),
    ),
    "validation within an epoch": Setup(
        windows([2] * 6, [2] * 6),
        {
            "max_epochs": 2,
            "accumulate_grad_batches": 2,
            "val_check_interval": 5,
            "num_sanity_val_steps": 2,
        },
        Validates,
    ),
    "three batches over and over": Setup(
        windows([1] * 3, [1] * 3), {"max_epochs": 2, "overfit_batches": 3}, size=3
    ),
    "no loss for some batches": Setup(
        [Window(step, [] if step % 3 == 1 else [step]) for step in range(24)],
        {"max_epochs": 2},
        SkipsBatches,
    ),
    "a step on every other batch": Setup(
        [Window(step, [step]) for step in range(0, 24, 2)],
        {"max_epochs": 2},
        StepsEveryOtherBatch,
        batches=range(24),
    ),
    "optimizer_step calls the closure": Setup(
        windows([1] * 12), {"max_epochs": 1}, CallsTheClosureItself
    ),
    "anomaly detection": Setup(windows([1] * 12), {"max_epochs": 1, "detect_anomaly": True}),
}


@pytest.mark.filterwarnings("ignore:.*Anomaly Detection", "ignore:.*returned `None`")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("setup", SETUPS.values(), ids=SETUPS)
def test_it_equals_a_plain_loop(setup, kind):
    model, callback = setup.model(adamw), dice(kind)
    trainer = fit_exactly(
        model, [callback, *(make() for make in setup.callbacks)], **setup.settings
    )
    steps = [(w.step, w.batches[-1] if w.batches else w.step) for w in setup.steps]
    if kind == "per_mini_batch":
        batches = setup.batches or [batch for window in setup.steps for batch in window.batches]
        assert [r.batch for r in callback.rolls.recent] == list(batches)
        assert [r.scale for r in callback.rolls.recent] == [factor(batch) for batch in batches]
    else:
        assert [(r.step, r.batch) for r in callback.rolls.recent] == steps
        assert [r.scale for r in callback.rolls.recent] == [factor(step) for step, _ in steps]
    expected = train(adamw, kind, setup.steps, setup.size)
    assert apart(model.weights(), expected) < EXACT
    assert "step" not in vars(trainer.optimizers[0])


class Gan(Toy):
    """Its last layer steps on every batch, its first one on every third; each has its turn."""

    def __init__(self):
        super().__init__()
        self.automatic_optimization = False
        self.kept = []

    def configure_optimizers(self):
        return [momentum(self.net[0].parameters()), adamw(self.net[2].parameters())]

    def turns(self, batch_idx):
        return [1, 0] if batch_idx % 3 == 2 else [1]

    def training_step(self, batch, batch_idx):
        for index in self.turns(batch_idx):
            optimizer = self.optimizers()[index]
            others = self.net[2 if index == 0 else 0].parameters()
            before = [parameter.detach().clone() for parameter in others]
            self.toggle_optimizer(optimizer)
            optimizer.zero_grad()
            self.manual_backward(loss_of(self.net, batch))
            optimizer.step()
            self.untoggle_optimizer(optimizer)
            self.kept.append(same(self.net[2 if index == 0 else 0].parameters(), before))


@pytest.mark.parametrize("kind", KINDS)
def test_each_of_two_optimizers_moves_its_own_by_its_own_rolls(kind):
    model, callback = Gan(), dice(kind)
    fit_exactly(model, [callback], max_epochs=2)
    assert all(model.kept)
    twin = Gan().double()
    optimizers = twin.configure_optimizers()
    rolled = []
    for batch, (inputs, targets) in enumerate(2 * data()):
        for index in twin.turns(batch % BATCHES):
            optimizer, step = optimizers[index], len(rolled)
            optimizer.zero_grad()
            scale = factor(batch) if kind == "per_mini_batch" else 1.0
            if scale is not None:
                (scale * loss_of(twin.net, (inputs.double(), targets.double()))).backward()
            own = optimizer.param_groups[0]["params"]
            roll(optimizer, kind, dict.fromkeys(own, factor(step, index)))
            rolled.append((step, batch, index))
    assert apart(model.weights(), twin.weights()) < EXACT
    records = [(record.step, record.batch, record.optimizer) for record in callback.rolls.recent]
    if kind == "per_mini_batch":
        rolled = [(step, batch, 0) for step, batch, index in rolled if index == 1]
    assert records == rolled


class WarmsUp(Toy):
    """The pattern of Lightning's documentation: the rate of the next step is set after a step."""

    def optimizer_step(self, epoch, batch_idx, optimizer, optimizer_closure=None):
        optimizer.step(closure=optimizer_closure)
        self.warm(optimizer, self.trainer.global_step)

    @staticmethod
    def warm(optimizer, step):
        for group in optimizer.param_groups:
            group["lr"] = min(1.0, (step + 1) / 8) * 0.05


@pytest.mark.parametrize("kind", KINDS)
def test_a_warm_up_in_optimizer_step_is_that_of_a_plain_loop(kind):
    model = WarmsUp(adamw)
    trainer = fit_exactly(model, [dice(kind)], max_epochs=1)
    expected = train(adamw, kind, windows([1] * 12), schedule=WarmsUp.warm)
    assert apart(model.weights(), expected) < EXACT
    assert [group["lr"] for group in trainer.optimizers[0].param_groups] == [0.05]


class Tunable(Toy):
    lr, batch_size = 0.05, 2

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=self.lr, weight_decay=0.1)

    def train_dataloader(self):
        return loader()


@pytest.mark.filterwarnings("ignore:.*train_dataloader")
@pytest.mark.parametrize("search", ["lr_find", "scale_batch_size"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_search_before_training_leaves_no_trace(kind, search, tmp_path):
    model, callback = Tunable(), dice(kind)
    settings = {"max_steps": 12, "precision": "64-true", "default_root_dir": tmp_path}
    trainer = quiet_trainer([callback], **settings)
    found = {
        "lr_find": {"num_training": 5, "update_attr": False},
        "scale_batch_size": {"max_trials": 2},
    }
    getattr(Tuner(trainer), search)(model, **found[search])
    assert callback.rolls.tally.rolls == 0
    assert not {"backward", "training_step"} & set(vars(model))
    # A search leaves its own scheduler's wrapper behind.
    assert not any(hasattr(optimizer.step, "peel") for optimizer in trainer.optimizers)
    trainer.fit(model)
    assert apart(model.weights(), train(adamw, kind, windows([1] * 12))) < EXACT


@pytest.mark.parametrize("kind", KINDS)
def test_a_callback_trains_twice(kind):
    """With a Trainer that goes on, rolls go on; with a new one they start again."""
    callback = dice(kind)
    model = Toy(adamw)
    trainer = fit_exactly(model, [callback], max_epochs=1)
    middle = model.weights()
    assert apart(middle, train(adamw, kind, windows([1] * 12))) < EXACT
    trainer.fit_loop.max_epochs = 2
    trainer.fit(model, loader())
    assert [record.step for record in callback.rolls.recent] == list(range(24))
    assert [r.scale for r in callback.rolls.recent] == [factor(step) for step in range(24)]
    again = Toy(adamw)
    fit_exactly(again, [callback], max_epochs=1)
    assert same(again.weights(), middle)


class Breaks(Toy):
    """Breaks off inside the optimizer's step, by its closure."""

    error: type[BaseException] = RuntimeError

    def on_after_backward(self):
        if self.trainer.global_step == 3:
            raise self.error("the user's own")


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize("kind", KINDS)
def test_breaking_off_leaves_no_layer(kind, error):
    model = Breaks(adamw)
    model.error, held = error, {}

    class Holds(Callback):
        def on_fit_start(self, trainer, pl_module):
            (held["optimizer"],) = trainer.optimizers
            held["groups"] = trainer.optimizers[0].param_groups

    handler = signal.getsignal(signal.SIGINT)
    try:
        with pytest.raises(SystemExit if error is KeyboardInterrupt else error):
            fit_exactly(model, [Holds(), dice(kind)], max_epochs=1)
    finally:
        signal.signal(signal.SIGINT, handler)  # Lightning stops listening
    optimizer = held["optimizer"]
    assert "step" not in vars(optimizer)
    assert optimizer.step.__func__ is torch.optim.AdamW.step
    assert optimizer.param_groups is held["groups"]
    assert [group["lr"] for group in optimizer.param_groups] == [0.05]
    assert "backward" not in vars(model)


@pytest.mark.filterwarnings("ignore:.*returned `None`")
@pytest.mark.parametrize("setup", SETUPS.values(), ids=SETUPS)
def test_a_module_that_brings_its_dice_equals_a_plain_loop_too(setup):
    class Own(DiceLightningModule, setup.model):
        pass

    model = Own(THROW, SEED, optimizer=adamw)
    fit_exactly(model, [make() for make in setup.callbacks], **setup.settings)
    expected = train(adamw, "per_mini_batch", setup.steps, setup.size)
    assert apart(model.weights(), expected) < EXACT
