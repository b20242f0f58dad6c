"""A run that is interrupted goes on as if it had not been: the same bits, rolls and metrics."""

import resource
from contextlib import nullcontext

import pytest
import torch

from lightning_dice.app.checkpoints import RandomState, WholeFiles
from lightning_dice.app.data.order import ResumableLoader, ResumableSampler
from lightning_dice.app.models.cnn import ImageClassifier
from lightning_dice.rules import SettingError

LONG = ["trainer.max_steps=26", "data.batch_size=128", "model.dropout=0.2"]
"""Epochs of 11 mini-batches; what is dropped out is drawn from the global random state."""
WAYS = {
    "steps": ["trainer.val_check_interval=4"],
    "windows": ["trainer.val_check_interval=3", "trainer.accumulate_grad_batches=2"],
    # Validations lie within windows that end where the epoch does.
    "long_windows": ["trainer.val_check_interval=3", "trainer.accumulate_grad_batches=4"],
    "mini_batches": ["granularity=per_mini_batch", "trainer.accumulate_grad_batches=3"],
    "epochs": ["trainer.val_check_interval=1.0", "trainer.check_val_every_n_epoch=1"],
    "no_validation": ["trainer.limit_val_batches=0"],
    "updates": ["target=update", "scope=tensor", "optimizer=adamw"],
}
STEPS = {"windows": 6, "long_windows": 3, "mini_batches": 4}
"""Of an epoch, where they are not 11."""


def interruptions(way):
    """Steps within an epoch and between two; a resumed run is interrupted too."""
    epoch = STEPS.get(way, 11)
    if way in ("epochs", "no_validation"):  # checkpoints are made after epochs
        return [(epoch, 2 * epoch + 2), (epoch + 1, 2 * epoch, 2 * epoch + 1)]
    within = epoch + epoch // 3 + 1
    return [(epoch // 2, epoch, 2 * epoch + 2), (epoch + 1, within, 2 * epoch + 1)]


class Interrupted(Exception):  # noqa: N818 - it is no error
    pass


@pytest.fixture
def interrupt(monkeypatch):
    """End training before a step, as if the process had gone."""

    def at(step):
        def stop(self, batch, batch_idx):
            if self.trainer.global_step == step:
                raise Interrupted

        monkeypatch.setattr(ImageClassifier, "on_train_batch_start", stop)

    return at


def left(folder):
    checkpoint = torch.load(folder / "checkpoints/last.ckpt", weights_only=True)
    kept = ("global_step", "state_dict", "optimizer_states", "lr_schedulers")
    parts = [checkpoint[part] for part in kept]
    files = [(folder / name).read_bytes() for name in ("rolls.csv", "metrics.csv")]
    return parts, files


def same(ours, theirs):
    if isinstance(ours, dict):
        return ours.keys() == theirs.keys() and all(same(ours[k], theirs[k]) for k in ours)
    if isinstance(ours, list):
        return len(ours) == len(theirs) and all(map(same, ours, theirs))
    return torch.equal(ours, theirs) if torch.is_tensor(ours) else ours == theirs


@pytest.mark.filterwarnings("ignore:Checkpoint directory")
@pytest.mark.parametrize("way", WAYS)
def test_it_ends_where_it_would_have(run, tmp_path, interrupt, way):
    settings = [*LONG, *WAYS[way], f"trainer.max_steps={2 * STEPS.get(way, 11) + 4}"]
    run(*settings, f"report={str(way == 'steps').lower()}", name="straight")
    straight = left(tmp_path / "straight")
    for steps in interruptions(way):
        name = "-".join(map(str, steps))
        for before, step in zip((None, *steps), (*steps, None), strict=False):
            interrupt(step)
            goes_on = [] if before is None else ["ckpt_path=last"]
            with nullcontext() if step is None else pytest.raises(Interrupted):
                run(*settings, *goes_on, name=name)
        resumed = left(tmp_path / name)
        assert same(resumed[0], straight[0]), steps
        assert resumed[1] == straight[1], steps


@pytest.mark.filterwarnings("ignore:Checkpoint directory")
@pytest.mark.parametrize("steps", [11, 13])
def test_a_finished_run_goes_on_too(run, tmp_path, monkeypatch, interrupt, steps):
    """It ended between two validations; the learning rate does not depend on the end here."""
    monkeypatch.setattr("lightning_dice.app.models.base.warmup_cosine", lambda *_: 1.0)
    settings = [*LONG, "trainer.val_check_interval=7"]
    run(*settings, name="straight")
    run(*settings, f"trainer.max_steps={steps}", name="twice")
    interrupt(24)
    with pytest.raises(Interrupted):
        run(*settings, "ckpt_path=last", name="twice")
    interrupt(None)
    run(*settings, "ckpt_path=last", name="twice")
    assert same(left(tmp_path / "twice")[0], left(tmp_path / "straight")[0])


def test_the_last_checkpoint_is_of_the_last_validation_not_of_the_best(run, tmp_path, interrupt):
    interrupt(10)
    with pytest.raises(Interrupted):
        run(*LONG, "trainer.val_check_interval=2", "optimizer.lr=0.0")  # none is better
    steps = {
        name: torch.load(tmp_path / f"run/checkpoints/{name}.ckpt", weights_only=True)
        for name in ("best", "last")
    }
    assert {name: file["global_step"] for name, file in steps.items()} == {"best": 2, "last": 10}


def test_orders_are_of_seed_and_epoch():
    data = list(range(10))

    def order(seed, epoch):
        sampler = ResumableSampler(data, 2, None, seed)
        sampler.set_epoch(epoch)
        return list(sampler)

    assert order(0, 1) == order(0, 1)
    assert sorted(order(0, 1)) == data
    assert order(0, 1) != order(0, 2) != order(1, 2)


def test_a_loader_may_be_made_anew_with_a_generator():
    """Lightning does so to train on the same few mini-batches again and again."""
    generator = torch.Generator()
    assert ResumableLoader(list(range(4)), 2, generator=generator).generator is generator


def test_the_random_state_of_every_kind_comes_back(tmp_path):
    import random

    import numpy as np

    def draw():
        return torch.rand(3).tolist(), np.random.rand(3).tolist(), random.random()

    torch.save(RandomState().state_dict(), tmp_path / "state.pt")
    drawn = draw()
    callback = RandomState()
    callback.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))

    class OneProcess:
        global_rank = 0

    callback.on_train_batch_start(OneProcess(), None, None, 0)
    assert draw() == drawn
    callback.on_train_batch_start(OneProcess(), None, None, 1)
    assert draw() != drawn, "once, at the first mini-batch"


def test_a_disk_without_room_leaves_the_old_checkpoint_and_no_litter(tmp_path):
    path, files = tmp_path / "last.ckpt", WholeFiles()
    files.save_checkpoint({"step": 1}, path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        with pytest.raises(SettingError, match=r"last.ckpt cannot be written there.*make room"):
            files.save_checkpoint({"weights": torch.ones(100_000)}, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert torch.load(path, weights_only=True) == {"step": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["last.ckpt"]
