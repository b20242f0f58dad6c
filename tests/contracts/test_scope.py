"""scope: one roll a slot, recorded per slot, and only what the filter leaves is rolled for."""

import csv

import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger

from lightning_dice import SavingThrow, SavingThrowCallback
from lightning_dice.records import read_rolls
from lightning_dice.rules import Roller, SettingError
from support.toy import Toy, data, fit, loader, loss_of, quiet_trainer, same

THROW = SavingThrow("d4", 2, [None, -0.25, 0.5, 1.0])
STEPS = 12
SLOTS = {"param_group": [0, 0, 1, 1], "tensor": [0, 1, 2, 3]}


def adam(parameters):
    """Two groups, of two tensors each."""
    tensors = list(parameters)
    return torch.optim.Adam([{"params": tensors[:2]}, {"params": tensors[2:]}], lr=0.05)


class Moves(Callback):
    """Which tensors moved in which step."""

    def __init__(self):
        self.weights = []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if not self.weights:
            self.weights.append(pl_module.weights())

    def on_train_batch_end(self, trainer, pl_module, *args):
        self.weights.append(pl_module.weights())


@pytest.mark.parametrize("scope", SLOTS)
@pytest.mark.parametrize("target", ["gradient", "update"])
def test_every_slot_has_a_roll_of_its_own(scope, target):
    dice = SavingThrowCallback(THROW, target=target, scope=scope, seed=4)
    moves = Moves()
    model = Toy(adam)
    fit(model, [dice, moves], max_steps=STEPS)
    roller, slots = Roller(THROW, 4), sorted(set(SLOTS[scope]))
    records = list(dice.rolls.recent)
    assert [(r.step, r.slot) for r in records] == [(s, i) for s in range(STEPS) for i in slots]
    assert [r.roll for r in records] == [roller.roll(s, i) for s in range(STEPS) for i in slots]
    assert dice.last_roll == [roller.roll(STEPS - 1, slot) for slot in slots]
    for step, (before, after) in enumerate(zip(moves.weights, moves.weights[1:], strict=False)):
        for slot, was, now in zip(SLOTS[scope], before, after, strict=True):
            assert torch.equal(was, now) == roller.roll(step, slot).discard


@pytest.mark.parametrize("scope", ["model", "param_group", "tensor"])
@pytest.mark.parametrize("target", ["gradient", "update"])
@pytest.mark.filterwarnings("ignore:.*every roll discards")
def test_what_is_left_out_trains_as_always(scope, target):
    nothing = SavingThrow("d4", 2, [None] * 4)
    dice = SavingThrowCallback(nothing, target=target, scope=scope, include=["net.2.*"], seed=0)
    model = Toy(adam)
    start = model.weights()
    fit(model, [dice], max_steps=5)
    by_hand = Toy(adam)
    optimizer = by_hand.configure_optimizers()
    for batch in data()[:5]:
        optimizer.zero_grad()
        loss_of(by_hand.net, batch).backward()
        for parameter in list(by_hand.parameters())[2:]:
            parameter.grad = None
        optimizer.step()
    assert same(model.weights()[2:], start[2:])
    assert same(model.weights(), by_hand.weights())


@pytest.mark.parametrize("setting", ["include", "exclude"])
def test_a_pattern_for_nothing_is_refused_before_training(setting):
    model = Toy(adam)
    with pytest.raises(SettingError, match=r"heads.*net\.0\.weight"):
        fit(model, [SavingThrowCallback(THROW, **{setting: ["heads.*"]})])
    assert model.losses == []


@pytest.mark.parametrize(
    "settings",
    [{"target": "update"}, {"scope": "tensor"}, {"include": ["*"]}, {"exclude": ["net.0.*"]}],
)
def test_a_mini_batch_has_one_roll_for_the_gradient_of_all(settings):
    ((setting, _),) = settings.items()
    callback = SavingThrowCallback(THROW, granularity="per_mini_batch", **settings)
    with pytest.raises(SettingError, match=rf"{setting}=.*granularity='per_accumulation_step'"):
        fit(Toy(adam), [callback])


def test_a_file_says_what_slots_stand_for(tmp_path):
    dice = SavingThrowCallback(THROW, scope="tensor", exclude=["net.0.bias"], seed=0)
    logger = CSVLogger(tmp_path, name="", version="")
    fit(Toy(adam), [dice], logger=logger)
    with (tmp_path / "slots.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["optimizer"], row["slot"], row["parameter"]) for row in rows] == [
        ("0", "0", "net.0.weight"),
        ("0", "2", "net.2.weight"),
        ("0", "3", "net.2.bias"),
    ]
    with (tmp_path / "rolls.csv").open(newline="") as file:
        slots = [row["slot"] for row in csv.DictReader(file)]
    assert slots == ["0", "2", "3"] * 10


@pytest.mark.parametrize("target", ["gradient", "update"])
def test_all_slots_are_scaled_at_once(target, monkeypatch):
    """One kernel for the gradients of all slots, none for updates; hooks see the user's groups."""
    calls = []
    kernel = torch._foreach_mul_
    monkeypatch.setattr(torch, "_foreach_mul_", lambda *a: calls.append(len(a[0])) or kernel(*a))
    groups = []

    def count(optimizer, *args):
        groups.append(len(optimizer.param_groups))

    class Model(Toy):
        def configure_optimizers(self):
            optimizer = torch.optim.SGD(self.parameters(), lr=0.1, foreach=False)
            optimizer.register_step_pre_hook(count)
            return optimizer

    kept = SavingThrow("d4", 2, [-0.25, 0.25, 0.5, 2.0])
    fit(Model(), [SavingThrowCallback(kept, target=target, scope="tensor", seed=0)], max_steps=6)
    assert calls == ([4] * 6 if target == "gradient" else [])
    assert groups == [1] * 6


@pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`")
def test_resuming_with_another_scope_is_refused(tmp_path):
    checkpoint = ModelCheckpoint(tmp_path, save_last=True)
    fit(
        Toy(adam),
        [SavingThrowCallback(THROW, scope="tensor", seed=0), checkpoint],
        enable_checkpointing=True,
    )
    other = SavingThrowCallback(THROW, scope="param_group", seed=0)
    with pytest.raises(SettingError, match=r"scope='param_group'.*scope='tensor'"):
        quiet_trainer([other], max_steps=20).fit(
            Toy(adam), loader(), ckpt_path=tmp_path / "last.ckpt"
        )


def test_a_checkpoint_saved_after_training_leaves_the_file_as_it_is(tmp_path):
    dice = SavingThrowCallback(THROW, scope="tensor", seed=0)
    trainer = fit(Toy(adam), [dice], logger=CSVLogger(tmp_path, name="", version=""))
    before = (tmp_path / "slots.csv").read_text()
    trainer.save_checkpoint(tmp_path / "after.ckpt")
    assert (tmp_path / "slots.csv").read_text() == before
    assert before.count("\n") == 5


def test_slots_that_join_while_training_are_in_the_file(tmp_path):
    class Joins(Toy):
        def configure_optimizers(self):
            return torch.optim.SGD(self.net[0].parameters(), lr=0.1)

        def on_train_batch_end(self, outputs, batch, batch_idx):
            if batch_idx == 4:
                self.trainer.optimizers[0].add_param_group({"params": self.net[2].parameters()})

    dice = SavingThrowCallback(THROW, scope="param_group", seed=0)
    fit(Joins(), [dice], logger=CSVLogger(tmp_path, name="", version=""))
    with (tmp_path / "slots.csv").open(newline="") as file:
        slots = [row["slot"] for row in csv.DictReader(file)]
    assert slots == ["0", "0", "1", "1"]
    assert {r.step for r in dice.rolls.recent if r.slot == 1} == set(range(5, 10))


KEPT = SavingThrow("d6", 2, [-0.75, 0.25, 0.5, 1.5, 2.5, 3.0])


@pytest.mark.parametrize("targets", [("update", "update"), ("gradient", "update")])
def test_scales_of_two_saving_throws_multiply_tensor_by_tensor(targets):
    def plain_sgd(parameters):
        return torch.optim.SGD(parameters, lr=0.1)

    callbacks = [
        SavingThrowCallback(KEPT, target=target, scope="tensor", seed=seed)
        for seed, target in enumerate(targets)
    ]
    model, plain = Toy(plain_sgd), Toy(plain_sgd)
    before = model.weights()
    fit(model, callbacks, max_steps=1)
    fit(plain, max_steps=1)
    rolled = zip(*(callback.rolls.recent for callback in callbacks), strict=True)
    products = [one.scale * two.scale for one, two in rolled]
    assert len(set(products)) > 1
    for now, full, then, product in zip(
        model.weights(), plain.weights(), before, products, strict=True
    ):
        torch.testing.assert_close(now, then + product * (full - then))


@pytest.mark.parametrize("target", ["gradient", "update"])
def test_optimizers_that_are_made_anew_are_rolled_for(target):
    class Anew(Toy):
        def on_train_epoch_start(self):
            if self.current_epoch == 1:
                self.trainer.strategy.setup_optimizers(self.trainer)

    nothing = SavingThrow("d4", 2, [None] * 4)
    model = Anew(adam)
    before = model.weights()
    with pytest.warns(UserWarning, match="every roll discards"):
        fit(model, [SavingThrowCallback(nothing, target=target, seed=0)], max_steps=20)
    assert same(model.weights(), before)


def test_a_filter_that_no_optimizer_meets_is_said():
    class Half(Toy):
        def configure_optimizers(self):
            return torch.optim.SGD(self.net[2].parameters(), lr=0.1)

    with pytest.warns(UserWarning, match="no optimizer of the Trainer has parameters"):
        fit(Half(), [SavingThrowCallback(THROW, include=["net.0.*"], seed=0)])


@pytest.mark.filterwarnings("ignore:Using ModelCheckpoint with manual optimization")
@pytest.mark.filterwarnings("ignore:.* directory .* exists and is not empty")
@pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint that ended before the epoch")
def test_a_resume_where_not_every_step_has_a_roll(tmp_path):
    """The optimizer that is rolled for steps with every third batch."""

    class Rarely(Toy):
        def __init__(self):
            super().__init__()
            self.automatic_optimization = False

        def configure_optimizers(self):
            return [torch.optim.SGD(layer.parameters(), lr=0.1) for layer in self.net[::2]]

        def training_step(self, batch, batch_idx):
            first, last = self.optimizers()
            first.zero_grad()
            last.zero_grad()
            self.manual_backward(loss_of(self.net, batch))
            last.step()
            if batch_idx % 3 == 0:
                first.step()

    def run(steps, checkpoint=None):
        dice = SavingThrowCallback(THROW, include=["net.0.*"], seed=0)
        saved = ModelCheckpoint(tmp_path, every_n_train_steps=1, save_last=True)
        logger = CSVLogger(tmp_path, name="", version="")
        settings = {"max_steps": steps, "enable_checkpointing": True, "logger": logger}
        trainer = quiet_trainer([dice, saved], **settings)
        trainer.fit(Rarely(), loader(), ckpt_path=checkpoint)
        return [(r.step, r.batch) for r in read_rolls(tmp_path / "rolls.csv")]

    run(7)
    assert run(14, tmp_path / "last.ckpt") == [(1, 0), (5, 3), (9, 6), (13, 9)]
