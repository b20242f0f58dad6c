"""Runs that are loaded again: their numbers are those of training, and bad ones are refused."""

import json
import shutil

import pytest
import torch
from omegaconf import OmegaConf

from lightning_dice.app.trained import choose_device, load_trained, validation_batches
from lightning_dice.probes import Objective
from lightning_dice.rules import SettingError


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A run of six steps, never changed; made once."""
    return tmp_path_factory.mktemp("runs") / "kept"


@pytest.fixture
def folder(kept, run, tmp_path):
    if not kept.exists():
        run("trainer.limit_val_batches=null")
        shutil.copytree(tmp_path / "run", kept)
        shutil.rmtree(tmp_path / "run")
    shutil.copytree(kept, tmp_path / "copy")
    return tmp_path / "copy"


def test_it_measures_what_training_measured(folder):
    trained = load_trained(folder, device="cpu")
    objective = Objective(trained.model, validation_batches(trained))
    loss = objective.loss(objective.weights)
    logits, labels = objective.predictions(objective.weights)
    accuracy = (logits.argmax(1) == labels).float().mean()
    metrics = trained.summary["metrics"]
    assert float(loss) == pytest.approx(metrics["val_loss"], rel=1e-5)
    assert float(accuracy) == pytest.approx(metrics["val_accuracy"], abs=1e-6)
    assert not trained.model.training
    assert trained.notes == ()


def test_examples_can_be_fewer(folder):
    trained = load_trained(folder, device="cpu")
    few = validation_batches(trained, most=130)
    assert [len(labels) for _, labels in few] == [128, 2]
    every = validation_batches(trained)
    assert torch.equal(few[0][0], every[0][0])
    assert sum(len(labels) for _, labels in every) == 359


def change_summary(folder, **more):
    path = folder / "summary.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **more}))


def change_weights(folder, change):
    path = folder / "checkpoints" / "last.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    change(checkpoint["state_dict"])
    torch.save(checkpoint, path)


def without_checkpoints(folder):
    shutil.rmtree(folder / "checkpoints")


def untrained(folder):
    change_summary(folder, status="running")


def of_another_format(folder):
    change_summary(folder, format=2)


def cut_short(folder):
    path = folder / "checkpoints" / "last.ckpt"
    path.write_bytes(path.read_bytes()[:1000])


def not_finite(folder):
    change_weights(folder, lambda weights: weights["network.0.bias"].fill_(float("nan")))


def of_another_model(folder):
    config = OmegaConf.load(folder / "config.yaml")
    config.model.channels = 4
    OmegaConf.save(config, folder / "config.yaml")


def of_another_class(folder):
    config = OmegaConf.load(folder / "config.yaml")
    config.model._target_ = "nowhere.Model"
    OmegaConf.save(config, folder / "config.yaml")


def without_settings(folder):
    (folder / "config.yaml").write_text("model: ${nothing}")


def without_yaml(folder):
    (folder / "config.yaml").write_text("{")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (without_checkpoints, "keeps no checkpoint; train with checkpoints=true"),
        (untrained, "has not finished \\(status running\\)"),
        (of_another_format, "reads format 1"),
        (cut_short, "cannot be read as a checkpoint"),
        (not_finite, "diverged: 1 of 6 tensors in last.ckpt are not finite, .* network.0.bias"),
        (of_another_model, "another model .* network.0.weight is \\(32, 1, 3, 3\\), and \\(4, 1"),
        (
            of_another_class,
            "names model._target_='nowhere.Model', which is no class of lightning-dice",
        ),
        (without_settings, "config.yaml cannot be read"),
        (without_yaml, "config.yaml cannot be read"),
        (shutil.rmtree, "there is no such folder"),
    ],
)
def test_what_cannot_be_measured_says_why(folder, spoil, words):
    spoil(folder)
    with pytest.raises(SettingError, match=words) as refused:
        load_trained(folder, device="cpu")
    assert refused.value.setting == "run"


def test_another_checkpoint_is_asked_for_by_name(folder):
    assert load_trained(folder, "best.ckpt", "cpu").checkpoint.name == "best.ckpt"
    with pytest.raises(SettingError, match=r"no first.ckpt: has best, last"):
        load_trained(folder, "first", "cpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there(folder):
    with pytest.raises(SettingError, match="device='cuda:0': is not there"):
        choose_device("cuda:0")
    assert choose_device("auto").type == "cpu"
    config = OmegaConf.load(folder / "config.yaml")
    config.trainer.accelerator = "gpu"
    OmegaConf.save(config, folder / "config.yaml")
    (note,) = load_trained(folder).notes
    assert note == "It was trained on a GPU and is measured on the CPU."


def test_a_device_that_is_no_device():
    with pytest.raises(SettingError, match="device='gpu': is not there"):
        choose_device("gpu")
