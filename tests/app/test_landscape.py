"""Landscapes of runs that were made: from the folder to the page, interrupted and resumed."""

import json
import shutil
from contextlib import nullcontext

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from lightning_dice.app import landscape as computing
from lightning_dice.app.landscape import Options, compute_landscape
from lightning_dice.app.models.cnn import ImageClassifier
from lightning_dice.app.trained import load_trained, validation_batches
from lightning_dice.cli.landscape import landscape as command
from lightning_dice.probes import Objective
from lightning_dice.probes.weights import flat_weights
from lightning_dice.records import read_rolls
from lightning_dice.rules import SettingError
from lightning_dice.trajectory_file import Trajectory

QUICK = Options(grid=3, span=0.5, examples=64, device="cpu")
PATH = "trajectory=32"
RUNS = {
    "plain": ["control=plain", PATH],
    "dice": ["threshold=easy", PATH],
    "other_seed": ["control=plain", "seed=1", PATH],
    "no_path": ["control=plain"],
    "wider": ["model.channels=3", PATH],
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Runs of six steps, made once, by name."""
    return tmp_path_factory.mktemp("runs")


@pytest.fixture
def runs(made, run, tmp_path):
    if not any(made.iterdir()):
        for name, settings in RUNS.items():
            run("report=false", *settings, name=name)
            shutil.move(tmp_path / name, made / name)
    return made


@pytest.fixture(scope="module")
def kept():
    """What was computed once and is looked at by several tests."""
    return {}


@pytest.fixture
def pair(runs, kept, tmp_path):
    if not kept:
        kept["pair"] = compute_landscape([runs / "plain", runs / "dice"], QUICK, tmp_path)
    return kept["pair"]


def measured(folder, weights=None):
    trained = load_trained(folder, device="cpu")
    objective = Objective(trained.model, validation_batches(trained, QUICK.examples))
    return float(objective.loss(objective.weights if weights is None else weights))


def test_a_run_keeps_its_path(runs):
    trajectory = Trajectory.read(runs / "dice")
    assert trajectory.steps == tuple(range(7))
    last = flat_weights(load_trained(runs / "dice", device="cpu").model).numpy()
    np.testing.assert_allclose(trajectory.weights(6), last, rtol=2**-11, atol=3e-8)
    assert not (runs / "no_path" / "trajectory.npy").exists()


def test_rolls_lead_from_a_row_to_the_next(runs):
    trajectory = Trajectory.read(runs / "dice")
    moved = [np.abs(trajectory.weights(i + 1) - trajectory.weights(i)).max() > 0 for i in range(6)]
    # SGD with momentum leaves weights alone on a discard, and never otherwise.
    assert moved == [roll.scale is not None for roll in read_rolls(runs / "dice" / "rolls.csv")]


@pytest.mark.parametrize("most", [2, -1])
def test_too_few_rows_are_refused(run, most):
    with pytest.raises(SettingError, match=rf"trajectory={most}: .*3 .*or 0 for none"):
        run(f"trajectory={most}")


@pytest.mark.filterwarnings("ignore:Checkpoint directory")
def test_an_interrupted_run_keeps_the_path_that_it_would_have(run, tmp_path, monkeypatch):
    class Interrupted(Exception):  # noqa: N818 - it is no error
        pass

    def stop(self, batch, batch_idx):
        if self.trainer.global_step == 5:
            raise Interrupted

    settings = ["trajectory=4", "report=false"]
    run(*settings, name="straight")
    with monkeypatch.context() as patched:
        patched.setattr(ImageClassifier, "on_train_batch_start", stop)
        with pytest.raises(Interrupted):
            run(*settings, name="resumed")
    assert Trajectory.read(tmp_path / "resumed").steps == (0, 2, 4)
    run(*settings, "ckpt_path=last", name="resumed")  # from step 3
    straight, resumed = (Trajectory.read(tmp_path / name) for name in ("straight", "resumed"))
    assert resumed.steps == straight.steps == (0, 2, 4, 6)
    for i in range(4):
        np.testing.assert_array_equal(resumed.weights(i), straight.weights(i))


def test_slices_are_losses_of_moved_weights(runs, pair):
    assert [one.label for one in pair.slices] == ["plain", "dice at 5"]
    for one, name in zip(pair.slices, ("plain", "dice"), strict=True):
        assert one.axis.tolist() == [-0.5, 0, 0.5]
        assert one.centre == pytest.approx(measured(runs / name), rel=1e-5)
        assert one.losses.shape == (3, 3)
        assert len(set(one.losses.ravel())) == 9
    assert pair.examples == 64


def test_the_plane_goes_through_the_first_run_s_end(runs, pair):
    plain, dice = pair.plane.paths
    assert (len(plain.moves), len(dice.moves)) == (0, 7)
    assert np.hypot(*plain.at[-1]) < 1e-3
    assert plain.on_plane[-1] == pytest.approx(measured(runs / "plain"), rel=1e-3)
    assert dice.losses[-1] == pytest.approx(measured(runs / "dice"), rel=1e-2)
    np.testing.assert_allclose(plain.losses[0], dice.losses[0])  # both begin at the same weights
    np.testing.assert_allclose(plain.at[0], dice.at[0], atol=1e-6)
    rolls = list(read_rolls(runs / "dice" / "rolls.csv"))
    assert [move.last for move in dice.moves] == [(), *((roll,) for roll in rolls)]
    assert sum(pair.plane.explained) <= 1


def test_a_line_ends_at_both_runs(runs, pair):
    (line,) = pair.lines
    assert (line.start, line.end) == ("plain", "dice at 5")
    ends = [measured(runs / name) for name in ("plain", "dice")]
    assert line.losses[[0, -1]] == pytest.approx(ends, rel=1e-5)
    first, second = (
        flat_weights(load_trained(runs / name, device="cpu").model) for name in ("plain", "dice")
    )
    middle = measured(runs / "plain", (first + second) / 2)
    assert line.losses[1] == pytest.approx(middle, rel=1e-5)
    assert line.barrier == pytest.approx(max(0, middle - sum(ends) / 2), abs=1e-5)
    assert line.accuracy.shape == (3,)


def test_what_is_missing_is_named(runs, tmp_path):
    folders = [runs / name for name in ("plain", "no_path", "other_seed")]
    found = compute_landscape(folders, QUICK._replace(examples=8), tmp_path)
    labels = ["plain, seed 0, plain", "plain, seed 0, no_path", "plain, seed 1, other_seed"]
    assert [member.label for member in found.members] == labels
    assert [path.label for path in found.plane.paths] == labels[:1]
    text = " ".join(found.omissions)
    assert f"{labels[1]}: has no trajectory; train with trajectory=64" in text
    assert f"The path of {labels[2]}: its seed is another than that of {labels[0]}" in text


def test_runs_below_a_folder_are_found_and_others_named(runs, tmp_path):
    (tmp_path / "runs").mkdir()
    for name in ("no_path", "wider"):
        shutil.copytree(runs / name, tmp_path / "runs" / name)
    shutil.copytree(runs / "plain", tmp_path / "runs" / "unfinished")
    summary = tmp_path / "runs" / "unfinished" / "summary.json"
    summary.write_text(json.dumps({**json.loads(summary.read_text()), "status": "failed"}))
    found = compute_landscape([tmp_path / "runs"], QUICK._replace(examples=8), tmp_path)
    assert [member.path for member in found.members] == ["no_path"]
    assert found.plane is None
    text = " ".join(found.omissions)
    assert "unfinished: has not finished" in text
    assert "wider: has weights of other shapes" in text


def test_runs_that_do_not_go_together_are_refused_where_they_are_named(runs, tmp_path):
    with pytest.raises(SettingError, match="other shapes"):
        compute_landscape([runs / "plain", runs / "wider"], QUICK, tmp_path)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"grid": 50}, "grid=50: expected an odd number from 3 to 401"),
        ({"grid": 100_001}, "grid=100001"),
        ({"span": 0}, "span=0"),
        ({"span": float("nan")}, "span=nan"),
        ({"examples": 0}, "examples=0"),
        ({"seed": -1}, "seed=-1"),
    ],
)
def test_settings_are_checked_before_anything_is_loaded(tmp_path, settings, expected):
    with pytest.raises(SettingError, match=expected):
        compute_landscape([tmp_path / "none"], QUICK._replace(**settings), tmp_path)


def test_what_was_interrupted_goes_on(runs, tmp_path, monkeypatch):
    computed = []
    whole = Objective.losses

    def counted(self, points, at_once=1):
        computed.append(len(points))
        if sum(computed) > stop_after:
            raise KeyboardInterrupt
        return whole(self, points, at_once)

    monkeypatch.setattr(Objective, "losses", counted)
    monkeypatch.setattr("lightning_dice.app.values.SECONDS", -1)
    options = QUICK._replace(grid=5, examples=8)
    folders = [runs / "plain"]
    values = {}
    for name, interruptions in {"straight": [10**6], "resumed": [10, 30, 10**6]}.items():
        total = 0
        for stop_after in interruptions:
            computed.clear()
            with pytest.raises(KeyboardInterrupt) if stop_after < 10**6 else nullcontext():
                values[name] = compute_landscape(folders, options, tmp_path / name)
            done = sum(computed) - (computed[-1] if stop_after < 10**6 else 0)
            total += done
        assert total == 2 * 25
    for kind in ("slices", "plane"):
        ours, theirs = (getattr(values[name], kind) for name in values)
        first = [one[0] if kind == "slices" else one for one in (ours, theirs)]
        np.testing.assert_allclose(first[0].losses, first[1].losses, rtol=1e-6)

    computed.clear()
    stop_after = 10**6
    compute_landscape(folders, options, tmp_path / "resumed")
    assert computed == []
    compute_landscape(folders, options._replace(seed=1), tmp_path / "resumed")
    assert sum(computed) == 25  # the plane of the path is the same


def test_weights_that_are_never_finite_are_no_chart(runs, tmp_path, monkeypatch):
    real = computing.random_direction
    monkeypatch.setattr(computing, "random_direction", lambda *given: 1e38 * real(*given))
    found = compute_landscape([runs / "no_path"], QUICK._replace(examples=8), tmp_path)
    losses = found.slices[0].losses
    assert np.isfinite(losses[1, 1])
    assert not np.isfinite(np.delete(losses.ravel(), 4)).any()


def test_the_command_writes_a_page(runs, tmp_path):
    out = tmp_path / "out"
    plain, dice = str(runs / "plain"), str(runs / "dice")
    asked = ["--grid", "3", "--examples", "8", "--device", "cpu", "--out", str(out)]
    done = CliRunner().invoke(command, [plain, dice, *asked], catch_exceptions=False)
    assert done.exit_code == 0
    assert "One plane holds" in done.stdout
    assert done.stdout.endswith(f"{out / 'landscape.html'}\n")
    assert (out / "landscape.html").stat().st_size > 10**6
    table = pd.read_csv(out / "tables" / "paths.csv")
    rolls = list(read_rolls(runs / "dice" / "rolls.csv"))
    rolled = table[table["rolls"] > 0]
    assert rolled["natural"].tolist() == [roll.natural for roll in rolls]
    assert rolled["step"].tolist() == [roll.step + 1 for roll in rolls]
