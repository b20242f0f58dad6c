"""``saving_throw.json`` beside the rolls of a loop, of Fabric and of HuggingFace's Trainer."""

import gc
import json
from importlib.metadata import version

import pytest

from lightning_dice import SavingThrow
from lightning_dice.adapters.huggingface import SavingThrowTrainerCallback
from lightning_dice.adapters.torch_loop import attach
from lightning_dice.rules import SettingError
from support.hf import trainer
from support.toy import adamw, data, loss_of, network

THROW = SavingThrow("d20", threshold=10)


def train(net, optimizer, steps=4):
    for batch in data()[:steps]:
        optimizer.zero_grad()
        loss_of(net, batch).backward()
        optimizer.step()


def begin(folder, **settings):
    net = network()
    optimizer = adamw(net.parameters())
    return net, optimizer, attach(optimizer, THROW, seed=2, model=net, folder=folder, **settings)


def described(folder, name="saving_throw.json"):
    return json.loads((folder / name).read_text())


def test_it_has_all_that_a_report_asks_for(tmp_path):
    net, optimizer, dice = begin(tmp_path)
    train(net, optimizer)
    running = described(tmp_path)
    dice.remove()
    found = described(tmp_path)
    assert (running["status"], found["status"]) == ("running", "finished")
    assert found["dice"] == dice.settings
    assert (found["seed"], found["steps"], found["rolls"]["count"]) == (2, 4, 4)
    assert found["task"] == {"model": "Sequential", "data": None, "optimizer": "AdamW"}
    assert found["optimizers"] == [{"name": "AdamW", "response": "rescales"}]
    assert found["versions"]["torch"] == version("torch")
    assert found["odds"]["mean"] == pytest.approx(129 / 400)


@pytest.mark.parametrize(
    ("error", "status"), [(ValueError, "failed"), (KeyboardInterrupt, "interrupted")]
)
def test_an_error_within_the_block_ends_the_training(tmp_path, error, status):
    net, optimizer, dice = begin(tmp_path)
    train(net, optimizer)
    with pytest.raises(error), dice:
        raise error("broke")
    found = described(tmp_path)
    assert found["status"] == status
    assert found["error"] == f"{error.__name__}: broke"


def test_a_loop_that_says_nothing_has_ended_when_it_is_forgotten(tmp_path):
    def loop():
        net, optimizer, _ = begin(tmp_path)
        train(net, optimizer)

    loop()
    gc.collect()
    found = described(tmp_path)
    assert (found["status"], found["steps"], found["rolls"]["count"]) == ("ended", 4, 4)


def test_a_state_that_is_saved_is_described(tmp_path):
    net, optimizer, dice = begin(tmp_path)
    train(net, optimizer, steps=3)
    dice.state_dict()
    assert described(tmp_path)["rolls"]["count"] == 3
    dice.remove()


def test_without_a_roll_there_is_no_file(tmp_path):
    begin(tmp_path)[2].remove()
    assert list(tmp_path.iterdir()) == []


def test_huggingfaces_trainer_leaves_it_in_its_output_dir(tmp_path):
    dice = SavingThrowTrainerCallback(THROW, seed=2, target="update")
    trainer(tmp_path, [dice], max_steps=3).train()
    found = described(tmp_path)
    assert (found["status"], found["steps"], found["rolls"]["count"]) == ("finished", 3, 3)
    assert found["dice"]["target"] == "update"


@pytest.mark.parametrize("folder", ["s3://bucket/run", "memory://run"])
def test_a_folder_that_is_not_on_this_machine_is_refused(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingError, match="expected a folder of this machine"):
        begin(folder)
    assert list(tmp_path.iterdir()) == []


def test_an_address_of_this_machine_is_a_folder(tmp_path):
    net, optimizer, dice = begin(f"file://{tmp_path}/run")
    train(net, optimizer)
    dice.remove()
    assert described(tmp_path / "run")["rolls"]["count"] == 4
