"""``skip_discarded``: what a discarded update would have cost is left out, and nothing else is."""

import csv

import pytest
import torch
from lightning.pytorch import Callback, LightningModule
from lightning.pytorch.loggers import CSVLogger
from torch import nn

from lightning_dice import SavingThrow, SavingThrowCallback
from lightning_dice.rules import SettingError
from support.toy import (
    BATCHES,
    OPTIMIZERS,
    Toy,
    adamw,
    fit,
    loader,
    loss_of,
    quiet_trainer,
    same,
)

STEPS = 30
SKIP = SavingThrow("d20", 10, "skip")
EVERYWHERE = pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)


def run(skip, optimizer=adamw, model=None, callbacks=(), dice=None, **settings):
    """A model that was trained, its Trainer and its dice."""
    model = model or Toy(optimizer)
    callback = SavingThrowCallback(SKIP, seed=3, skip_discarded=skip, **(dice or {}))
    trainer = fit(model, [callback, *callbacks], **{"max_steps": STEPS, **settings})
    return model, trainer, callback


def scales(callback):
    return [record.scale for record in callback.rolls.recent]


@EVERYWHERE
@pytest.mark.parametrize("settings", [{}, {"gradient_clip_val": 0.1}, {"precision": "bf16-mixed"}])
def test_weights_and_rolls_are_those_of_a_run_that_computes_all(optimizer, settings):
    whole, _, dice = run(False, optimizer, **settings)
    model, trainer, spared = run(True, optimizer, **settings)
    assert same(model.weights(), whole.weights())
    assert list(spared.rolls.recent) == list(dice.rolls.recent)
    discards = scales(spared).count(None)
    assert 8 < discards < STEPS - 8
    assert spared.left_out == discards
    assert (len(whole.losses), len(model.losses)) == (STEPS, STEPS - discards)
    assert trainer.global_step == STEPS


@pytest.mark.parametrize("window", [2, 5])
def test_a_window_of_mini_batches_is_left_out_whole(window):
    settings = {"accumulate_grad_batches": window, "max_steps": 12}  # the last of an epoch is short
    whole, _, dice = run(False, **settings)
    model, trainer, spared = run(True, **settings)
    assert same(model.weights(), whole.weights())
    assert list(spared.rolls.recent) == list(dice.rolls.recent)
    assert trainer.global_step == 12
    kept = {record.step for record in dice.rolls.recent if record.scale is not None}
    ends = -(-BATCHES // window)  # windows of an epoch
    first = {step: step // ends * BATCHES + step % ends * window for step in range(12)}
    batches = [
        batch
        for step in sorted(kept)
        for batch in range(first[step], min(first[step] + window, (step // ends + 1) * BATCHES))
    ]
    assert model.losses == [whole.losses[batch] for batch in batches]


def test_what_is_computed_is_what_would_have_been_on_the_same_data():
    whole, _, dice = run(False)
    model, _, _ = run(True)
    kept = [loss for loss, scale in zip(whole.losses, scales(dice), strict=True) if scale]
    assert model.losses == kept


class Scheduled(Toy):
    """Its learning rate falls at every step."""

    def configure_optimizers(self):
        optimizer = super().configure_optimizers()
        falling = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)
        return [optimizer], [{"scheduler": falling, "interval": "step"}]


class Watch(Callback):
    """What a callback sees of a run."""

    def __init__(self):
        self.seen = []

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        gradients = any(p.grad is not None for p in pl_module.parameters())
        self.seen.append(("step", trainer.global_step, optimizer.param_groups[0]["lr"], gradients))

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.seen.append(("batch", batch_idx, batch[0].sum().item(), bool(outputs)))


def test_hooks_schedules_and_data_go_on():
    computed, spared = Watch(), Watch()
    _, _, dice = run(False, model=Scheduled(adamw), callbacks=[computed])
    run(True, model=Scheduled(adamw), callbacks=[spared])
    assert [event[:3] for event in spared.seen] == [event[:3] for event in computed.seen]
    kept = [scale is not None for scale in scales(dice) for _ in ("step", "batch")]
    assert [event[3] for event in spared.seen] == kept
    assert all(event[3] for event in computed.seen)


def test_loggers_get_no_value_for_a_step_that_was_left_out(tmp_path):
    model, _, dice = run(True, logger=CSVLogger(tmp_path), log_every_n_steps=1)
    left = 0
    values = iter(model.losses)
    with (tmp_path / "lightning_logs" / "version_0" / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == STEPS
    for row, scale in zip(rows, scales(dice), strict=True):
        left += scale is None
        assert float(row["dice/left_out"]) == left
        if scale is None:
            assert row["train_loss"] == ""
        else:
            assert float(row["train_loss"]) == pytest.approx(next(values), rel=1e-6)


def test_a_resumed_run_goes_on_leaving_out_and_counting(tmp_path):
    _, _, dice = run(True)
    ends = []
    for skip in (False, True):
        _, trainer, _ = run(skip, max_steps=2 * BATCHES)
        trainer.save_checkpoint(tmp_path / "two-epochs.ckpt")
        rest, model = SavingThrowCallback(SKIP, seed=3, skip_discarded=skip), Toy(adamw)
        again = quiet_trainer([rest], max_steps=STEPS)
        again.fit(model, loader(), ckpt_path=tmp_path / "two-epochs.ckpt", weights_only=False)
        ends.append(model.weights())
        assert rest.rolls.tally.counts == dice.rolls.tally.counts
        assert rest.left_out == (dice.left_out if skip else 0)
    assert same(*ends)


def test_what_is_not_rolled_for_is_trained_as_always():
    half = {"include": ["net.0.*"]}
    whole, _, _ = run(False, dice=half)
    model, _, spared = run(True, dice=half)
    assert same(model.weights(), whole.weights())
    assert spared.left_out == 0
    assert len(model.losses) == STEPS


def test_of_several_slots_all_have_to_be_discarded():
    several = {"scope": "tensor"}
    whole, _, dice = run(False, dice=several, max_steps=200)
    model, _, spared = run(True, dice=several, max_steps=200)
    assert same(model.weights(), whole.weights())
    by_step = {}
    for record in dice.rolls.recent:
        by_step.setdefault(record.step, []).append(record.scale)
    nothing = sum(all(scale is None for scale in own) for own in by_step.values())
    assert 0 < nothing == spared.left_out < 60


class Normed(LightningModule):
    """Its forward pass counts the batches that it has seen."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 1))

    def training_step(self, batch, batch_idx):
        return loss_of(self.net, batch)

    def configure_optimizers(self):
        return adamw(self.parameters())


def test_what_the_forward_pass_does_besides_is_left_out_too():
    model, _, spared = run(True, model=Normed())
    assert model.net[0].num_batches_tracked == STEPS - spared.left_out


def test_lbfgs_leaves_steps_out():
    def lbfgs(parameters):
        return torch.optim.LBFGS(parameters, lr=0.1, max_iter=3)

    whole, _, _ = run(False, lbfgs)
    model, _, spared = run(True, lbfgs)
    assert same(model.weights(), whole.weights())
    assert spared.left_out > 8
    assert len(model.losses) < len(whole.losses)


def test_it_leaves_the_trainer_as_it_was():
    _, trainer, _ = run(True)
    assert "_make_closure" not in vars(trainer.fit_loop.epoch_loop.automatic_optimization)


@pytest.mark.parametrize(
    ("dice", "remedy"),
    [
        ({"target": "update"}, "takes the gradient; use target='gradient'"),
        ({"granularity": "per_mini_batch"}, "use granularity='per_accumulation_step'"),
    ],
)
def test_what_is_needed_is_not_left_out(dice, remedy):
    with pytest.raises(SettingError, match=f"skip_discarded=True.*{remedy}"):
        run(True, dice=dice)


class Manual(Toy):
    """Steps its optimizer itself."""

    def __init__(self):
        super().__init__()
        self.automatic_optimization = False


def test_manual_optimization_is_refused():
    with pytest.raises(SettingError, match=r"skip_discarded=True.*use automatic optimization"):
        run(True, model=Manual())
