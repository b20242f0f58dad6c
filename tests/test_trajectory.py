"""The weights along a training: which are kept, how exactly, and that training is the same."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.strategies import FSDPStrategy, ModelParallelStrategy

from lightning_dice.rules import SettingError
from lightning_dice.trajectory import TrajectoryRecorder
from lightning_dice.trajectory_file import Trajectory, TrajectoryFile, first_of_each
from support.toy import OPTIMIZERS, Toy, fit, loader, quiet_trainer, same


class Watch(Callback):
    """Every point of a training, copied."""

    def __init__(self):
        self.weights = {}

    def on_train_start(self, trainer, pl_module):
        self.note(trainer, pl_module)

    def on_train_batch_end(self, trainer, pl_module, *_):
        self.note(trainer, pl_module)

    def note(self, trainer, pl_module):
        flat = torch.cat([p.detach().flatten() for p in pl_module.parameters()])
        self.weights[trainer.global_step] = flat.clone().numpy()


def record(folder, most=64, steps=10, **settings):
    watch = Watch()
    trainer = fit(Toy(), [TrajectoryRecorder(folder, most), watch], max_steps=steps, **settings)
    return Trajectory.read(folder), watch.weights, trainer


def test_a_row_has_the_weights_after_its_step(tmp_path):
    trajectory, weights, _ = record(tmp_path)
    assert trajectory.steps == tuple(range(11))
    assert trajectory.names == tuple(name for name, _ in Toy().named_parameters())
    assert trajectory.shapes == tuple(tuple(p.shape) for p in Toy().parameters())
    for i, step in enumerate(trajectory.steps):
        exact = weights[step]
        error = np.abs(trajectory.weights(i) - exact)
        assert (error <= np.where(np.abs(exact) < 6.2e-5, 3e-8, np.abs(exact) * 2**-11)).all()


@pytest.mark.parametrize(
    ("steps", "most", "kept"),
    [
        (10, 3, [0, 5, 10]),
        (10, 4, [0, 4, 8, 10]),
        (10, 5, [0, 3, 6, 9, 10]),
        (11, 12, list(range(12))),
    ],
)
def test_rows_are_evenly_spaced_between_the_ends(tmp_path, steps, most, kept):
    assert record(tmp_path, most, steps)[0].steps == tuple(kept)


def test_steps_are_those_of_the_optimizer(tmp_path):
    trajectory, _, trainer = record(tmp_path, 64, 5, accumulate_grad_batches=2)
    assert trainer.global_step == 5
    assert trajectory.steps == (0, 1, 2, 3, 4, 5)


@pytest.mark.parametrize(
    ("most", "every", "kept"), [(3, 16, [0, 16, 23]), (5, 8, [0, 8, 16, 23]), (64, 1, range(24))]
)
def test_without_a_known_end_every_other_row_is_dropped(tmp_path, most, every, kept):
    class Stop(Callback):
        def on_train_batch_end(self, trainer, *_):
            trainer.should_stop = trainer.global_step == 23

    watch = Watch()
    callbacks = [TrajectoryRecorder(tmp_path, most), watch, Stop()]
    fit(Toy(), callbacks, max_steps=-1, max_epochs=-1)
    trajectory = Trajectory.read(tmp_path)
    assert (trajectory.every, trajectory.steps) == (every, tuple(kept))
    for i, step in enumerate(trajectory.steps):
        np.testing.assert_array_equal(trajectory.weights(i), weights_in_half(watch.weights[step]))


def weights_in_half(weights):
    return weights.astype(np.float16).astype(np.float32)


@given(
    st.lists(st.integers(0, 200), min_size=1, max_size=30, unique=True).map(sorted),
    st.integers(1, 40),
)
def test_one_step_of_each_stretch_stays(steps, every):
    kept = [steps[i] for i in first_of_each(steps, every)]
    stretches = {step // every for step in steps}
    assert {step // every for step in kept} == stretches
    assert kept == [min(s for s in steps if s // every == stretch) for stretch in sorted(stretches)]


def test_a_folder_that_is_not_on_this_machine_is_refused():
    with pytest.raises(SettingError, match="folder='s3://bucket/run': expected a folder of this"):
        TrajectoryRecorder("s3://bucket/run")


def test_the_table_has_the_size_that_it_was_given(tmp_path):
    size = sum(p.numel() for p in Toy().parameters())
    fit(Toy(), [TrajectoryRecorder(tmp_path, 64, megabytes=4.5 * size * 2 / 1e6)], max_steps=20)
    trajectory = Trajectory.read(tmp_path)
    assert trajectory.table.shape == (4, size)
    assert trajectory.steps == (0, 7, 14, 20)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_training_is_the_same_bit_for_bit(tmp_path, name):
    ends = []
    for callbacks in ([], [TrajectoryRecorder(tmp_path, 5)]):
        torch.manual_seed(3)
        model = Toy(OPTIMIZERS[name])
        fit(model, callbacks)
        ends.append((model.losses, model.weights(), torch.get_rng_state()))
    assert ends[0][0] == ends[1][0]
    assert same(ends[0][1], ends[1][1])
    assert torch.equal(ends[0][2], ends[1][2])


@pytest.mark.filterwarnings("ignore:Be aware that when using")
def test_a_resumed_run_keeps_what_an_uninterrupted_one_does(tmp_path):
    straight = record(tmp_path / "straight", 6, 20)[0]

    class Break(Callback):
        def on_train_batch_end(self, trainer, *_):
            if trainer.global_step == 18:
                raise KeyError("gone")

    folder = tmp_path / "resumed"
    saves = ModelCheckpoint(folder, "{step}", every_n_train_steps=12, save_top_k=-1)
    callbacks = [TrajectoryRecorder(folder, 6), saves, Break()]
    with pytest.raises(KeyError, match="gone"):
        fit(Toy(), callbacks, max_steps=20, enable_checkpointing=True)
    assert Trajectory.read(folder).steps == (0, 4, 8, 12, 16)

    trainer = quiet_trainer([TrajectoryRecorder(folder, 6)], max_steps=20)
    trainer.fit(Toy(), loader(), ckpt_path=folder / "step=12.ckpt", weights_only=False)
    resumed = Trajectory.read(folder)
    assert resumed.steps == straight.steps == (0, 4, 8, 12, 16, 20)
    for i in range(len(straight)):
        np.testing.assert_array_equal(resumed.weights(i), straight.weights(i))


def test_a_run_that_is_killed_between_two_notes_can_be_read(tmp_path):
    file = TrajectoryFile(tmp_path, 3, ["w"], [[2]])
    file.create(every=1)
    for step in range(3):
        file.add(step, np.full(2, step, np.float16))
    file.write_note()
    file.thin()
    file.add(4, np.full(2, 4, np.float16))  # into the place of step 1, and then no more is heard
    trajectory = Trajectory.read(tmp_path)
    assert trajectory.steps == (0, 2)
    assert [trajectory.weights(i).tolist() for i in (0, 1)] == [[0, 0], [2, 2]]


def test_an_earlier_trajectory_is_moved_aside(tmp_path):
    first = record(tmp_path, steps=3)[0]
    record(tmp_path, steps=5)
    assert Trajectory.read(tmp_path).steps == tuple(range(6))
    moved = json.loads((tmp_path / "trajectory.1.json").read_text())
    assert tuple(moved["steps"]) == first.steps
    assert np.load(tmp_path / "trajectory.1.npy").shape == first.table.shape


def test_what_float16_cannot_hold_is_left_out(tmp_path):
    class Jump(Callback):
        def on_train_batch_start(self, trainer, pl_module, *_):
            if trainer.global_step == 2:
                with torch.no_grad():
                    pl_module.net[0].bias[0] = 1e6

    fit(Toy(), [TrajectoryRecorder(tmp_path), Jump()], max_steps=3)
    trajectory = Trajectory.read(tmp_path)
    assert (trajectory.steps, trajectory.left_out) == ((0, 1, 2), (3,))


def test_frozen_weights_are_not_kept(tmp_path):
    model = Toy()
    model.net[0].requires_grad_(requires_grad=False)
    fit(model, [TrajectoryRecorder(tmp_path)], max_steps=2)
    assert Trajectory.read(tmp_path).names == ("net.2.weight", "net.2.bias")


@pytest.mark.parametrize(
    ("arguments", "setting"),
    [({"most": 2}, "most"), ({"megabytes": 0}, "megabytes"), ({"megabytes": np.inf}, "megabytes")],
)
def test_values_are_checked(tmp_path, arguments, setting):
    with pytest.raises(SettingError, match=setting):
        TrajectoryRecorder(tmp_path, **arguments)


def test_too_little_room_is_refused_before_training(tmp_path):
    with pytest.raises(SettingError, match=r"megabytes=1e-05: 3 snapshots of 26 weights.*=0"):
        fit(Toy(), [TrajectoryRecorder(tmp_path, megabytes=1e-5)])
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("strategy", [FSDPStrategy, ModelParallelStrategy])
def test_sharded_weights_are_refused(tmp_path, strategy):
    trainer = SimpleNamespace(strategy=strategy.__new__(strategy))
    with pytest.raises(SettingError, match=r"trajectory=64: .*trajectory=0"):
        TrajectoryRecorder(tmp_path).setup(trainer, Toy(), "fit")


def test_one_process_writes(tmp_path):
    recorder = TrajectoryRecorder(tmp_path)
    trainer = SimpleNamespace(is_global_zero=False, estimated_stepping_batches=4, global_step=0)
    for hook in (recorder.on_fit_start, recorder.on_train_start, recorder.on_train_end):
        hook(trainer, Toy())
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("text", ["{", "[]", '{"format": 2}', '{"format": 1}'])
def test_a_broken_note_is_named(tmp_path, text):
    record(tmp_path, steps=2)
    (tmp_path / "trajectory.json").write_text(text)
    with pytest.raises(SettingError, match=r"trajectory=.*cannot be read"):
        Trajectory.read(tmp_path)
    with pytest.raises(SettingError, match=r"cannot be read.*begin a new one"):
        TrajectoryFile(tmp_path, 3, ["w"], [[2]]).reopen(1)


def test_a_table_cut_short_or_of_other_weights_is_named(tmp_path):
    record(tmp_path, steps=2)
    with pytest.raises(SettingError, match="of other weights"):
        TrajectoryFile(tmp_path, 3, ["w"], [[2]]).reopen(1)
    path = tmp_path / "trajectory.npy"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(SettingError, match="cannot be read"):
        Trajectory.read(tmp_path)
    np.save(path, np.zeros((3, 2), np.float16))
    with pytest.raises(SettingError, match="no table of 26 weights"):
        Trajectory.read(tmp_path)


def test_a_run_without_one_says_how_to_have_one(tmp_path):
    with pytest.raises(SettingError, match="trajectory=64"):
        Trajectory.read(tmp_path)


def test_a_full_disk_is_refused_at_the_start(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", full)
    with pytest.raises(SettingError, match=r"No space left on device.*trajectory=0"):
        fit(Toy(), [TrajectoryRecorder(tmp_path)], max_steps=2)
