"""A run goes on by the settings of its checkpoint, or by those that are asked for by name."""

import json

import pytest
import torch

from lightning_dice.app.models.base import warmup_cosine
from lightning_dice.app.resumed import FIXED, FREE, check_names, check_settings, dice_changes
from lightning_dice.rules import SettingError


def files(folder):
    found = [path for path in folder.rglob("*") if path.is_file()]
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in found}


def groups(folder):
    checkpoint = torch.load(folder / "checkpoints/last.ckpt", weights_only=True)
    return checkpoint["optimizer_states"][0]["param_groups"]


@pytest.mark.parametrize("key", ["data.rows", "optimizer.lr", "seed", "trainer.precision"])
def test_whatever_differs_is_named_then_and_now(key):
    theirs = {key: 1, "model.width": 8, "trainer.max_steps": 10}
    mine = {key: 2, "model.width": 8, "trainer.max_steps": 20}
    with pytest.raises(SettingError, match=rf"^{key}=2: .* with {key}=1; .*changes=\[{key}"):
        check_settings(mine, theirs)
    assert check_settings(mine, theirs, [key]) == [key]
    assert check_settings(mine, theirs, [key.partition(".")[0]]) == [key]


@pytest.mark.parametrize("key", FIXED)
def test_some_may_not_differ_at_all(key):
    with pytest.raises(SettingError, match="cannot go on with another; start a new run"):
        check_settings({key: "a"}, {key: "b"}, [key])


@pytest.mark.parametrize("key", FREE)
def test_some_may_differ_freely(key):
    assert check_settings({key: 1}, {key: 2}) == []


def test_a_setting_that_is_new_or_gone_differs_too():
    with pytest.raises(SettingError, match=r"trained with a=1, b=None \(now a=None, b=2\)"):
        check_settings({"b": 2}, {"a": 1})


def test_names_that_no_setting_has_are_refused():
    check_names(["optimizer", "threshold"], {"optimizer.lr": 1}, ["threshold"])
    with pytest.raises(SettingError, match=r"changes='optimizer.rate'"):
        check_names(["optimizer.rate"], {"optimizer.lr": 1}, ["threshold"])


def test_names_of_dice():
    names = ["dice.target", "optimizer.lr", "saving_throw.die"]
    assert dice_changes(names, ["die", "target"]) == ["target", "die"]


@pytest.mark.filterwarnings("ignore:Checkpoint directory")
def test_a_learning_rate_that_is_asked_for_is_used_and_on_record(run, tmp_path):
    run("trainer.max_steps=4", "optimizer.lr=0.4", "optimizer.momentum=0.5")
    before = files(tmp_path / "run")
    new = ["ckpt_path=last", "trainer.max_steps=8", "optimizer.lr=0.02", "optimizer.momentum=0.7"]
    with pytest.raises(SettingError, match=r"optimizer.lr=0.02: .* optimizer.lr=0.4, optimizer.m"):
        run(*new)
    assert files(tmp_path / "run") == before
    summary = run(*new, "changes=[optimizer.lr,optimizer.momentum]", "trainer.val_check_interval=1")
    assert summary["settings"]["optimizer.lr"] == 0.02
    assert summary["changes"] == [
        {"step": 4, "setting": "optimizer.lr", "from": 0.4, "to": 0.02},
        {"step": 4, "setting": "optimizer.momentum", "from": 0.5, "to": 0.7},
    ]
    for group in groups(tmp_path / "run"):
        assert (group["initial_lr"], group["momentum"]) == (0.02, 0.7)
        assert group["lr"] == 0.02 * warmup_cosine(8, 8, 0.1)


@pytest.mark.filterwarnings("ignore:Checkpoint directory")
def test_the_first_step_has_the_new_rate(run, tmp_path, monkeypatch):
    monkeypatch.setattr("lightning_dice.app.models.base.warmup_cosine", lambda *_: 1.0)
    rates = []

    def note(self, *_):
        rates.append(self.trainer.optimizers[0].param_groups[0]["lr"])

    run("optimizer.lr=0.4")
    monkeypatch.setattr("lightning_dice.app.models.cnn.ImageClassifier.on_train_batch_start", note)
    goes_on = ["ckpt_path=last", "trainer.max_steps=8", "optimizer.lr=0.02"]
    run(*goes_on, "changes=[optimizer]")
    assert rates == [0.02, 0.02]


@pytest.mark.filterwarnings("ignore:Checkpoint directory")
def test_a_schedule_of_another_length_is_told(run, capsys):
    run()
    run("ckpt_path=last", "trainer.max_steps=12")
    said = capsys.readouterr().err
    assert "the learning rate follows a schedule over all steps, whose number has changed" in said


def test_a_finished_run_is_left_as_it_is(run, tmp_path):
    summary = run("trajectory=3")
    before = files(tmp_path / "run")
    for more in ([], ["trainer.max_steps=4"], ["report=true"]):
        assert run("ckpt_path=last", "trajectory=3", *more) == summary
        assert files(tmp_path / "run") == before


def cut(lines):
    del lines[2:4]


def double(lines):
    lines.insert(3, lines[3])


def swap(lines):
    lines[2], lines[3] = lines[3], lines[2]


def alter(lines):
    lines[2] = lines[2].replace(",0,0,", ",0,1,", 1)


@pytest.mark.parametrize("damage", [cut, double, swap, alter, list.clear])
def test_rolls_that_are_others_are_refused(run, tmp_path, damage):
    run()
    path = tmp_path / "run" / "rolls.csv"
    lines = path.read_text().splitlines(keepends=True)
    damage(lines)
    path.write_text("".join(lines))
    before = files(tmp_path / "run")
    with pytest.raises(SettingError, match=r"^rolls=.*rolls.csv'.*go on in a new folder"):
        run("ckpt_path=last", "trainer.max_steps=12")
    assert files(tmp_path / "run") == before


def test_rolls_that_are_gone_are_refused_and_the_advice_works(run, tmp_path):
    run()
    (tmp_path / "run" / "rolls.csv").unlink()
    with pytest.raises(SettingError, match=r"rolls.csv': is gone, and had 6 rolls"):
        run("ckpt_path=last", "trainer.max_steps=12")
    last = tmp_path / "run" / "checkpoints" / "last.ckpt"
    assert json.loads((tmp_path / "run/summary.json").read_text())["status"] == "finished"
    # The folder has another name, which Lightning warns of.
    with pytest.warns(UserWarning, match="The dirpath has changed"):
        summary = run(f"ckpt_path={last}", "trainer.max_steps=12", name="new")
    assert summary["steps"] == 12
