"""The tolerance experiment in Python: its arms, its records, and that it goes on."""

import json
from functools import partial

import pytest
import torch
from lightning.pytorch import Trainer, seed_everything

from lightning_dice import SavingThrow, SavingThrowCallback
from lightning_dice.analysis.sweep.gather import Sweep
from lightning_dice.app.commands import read_with
from lightning_dice.app.described import describe
from lightning_dice.app.errors import SweepEnded
from lightning_dice.app.tolerance import train_tolerance
from lightning_dice.rules import SettingError
from support.own import Data, Fails, MakesItsOwn, Net

OPTIMIZERS = {
    "SGD": partial(torch.optim.SGD, lr=0.05),
    "Adam": lambda parameters: torch.optim.Adam(parameters, lr=0.02),
}
THROWS = [SavingThrow("d20", 5), SavingThrow("d20", 20)]
SETTINGS = {
    "throws": THROWS,
    "seeds": [0, 1],
    "metric": "val_loss",
    "mode": "min",
    "unit": "squares",
    "max_steps": 4,
    "accelerator": "cpu",
}


def summaries(folder):
    return {
        path.parent.name: json.loads(path.read_text()) for path in folder.glob("*/summary.json")
    }


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tolerance") / "sums"
    train_tolerance(Net, Data, OPTIMIZERS, folder=folder, **SETTINGS)
    return folder


def test_every_arm_is_trained_once_for_each_optimizer_and_seed(trained):
    arms = [
        "control=plain",
        "control=plain_mean,threshold=5",
        "control=plain_mean,threshold=20",
        *(
            f"control=none,target={target},threshold={threshold}"
            for target in ("gradient", "update")
            for threshold in (5, 20)
        ),
    ]
    made = summaries(trained)
    assert made.keys() == {
        f"optimizer={optimizer},{arm},seed={seed}"
        for optimizer in OPTIMIZERS
        for arm in arms
        for seed in (0, 1)
    }
    refused = {name for name, summary in made.items() if summary["status"] == "refused"}
    assert refused == {name for name in made if "plain_mean,threshold=20" in name}
    assert {summary["status"] for summary in made.values()} == {"finished", "refused"}


def test_a_run_is_on_record_as_those_of_the_application_are(trained):
    summary = summaries(trained)["optimizer=SGD,control=none,target=update,threshold=5,seed=1"]
    assert summary["task"] == {
        "data": "Data",
        "model": "Net",
        "optimizer": "SGD",
        "metric": "val_loss",
        "unit": "squares",
        "mode": "min",
    }
    assert summary["steps"] == summary["rolls"]["count"] == 4
    assert (summary["dice"]["target"], summary["dice"]["seed"]) == ("update", 1)
    assert summary["settings"]["optimizer.lr"] == 0.05
    assert summary["settings"]["optimizer._target_"] == "torch.optim.sgd.SGD"
    assert summary["settings"]["model._target_"] == "support.own.Net"
    folder = trained / "optimizer=SGD,control=none,target=update,threshold=5,seed=1"
    assert {path.name for path in folder.iterdir()} >= {"rolls.csv", "metrics.csv", "config.yaml"}


def test_a_sweeps_reader_finds_an_optimizer_a_context(trained):
    sweep = Sweep.load(trained)
    assert [context.values["optimizer"] for context in sweep.contexts] == ["Adam", "SGD"]
    assert all(set(context.values) == {"data", "model", "optimizer"} for context in sweep.contexts)
    assert len(sweep.runs) == 24
    assert {one.reason for one in sweep.left_out} == {"refused: settings that cannot be used"}


@pytest.mark.filterwarnings("ignore:The number of training batches .* is smaller than the logging")
@pytest.mark.parametrize("control", ["none", "plain_mean"])
def test_it_is_what_a_plain_trainer_with_the_callback_does(trained, control):
    """By hand: the dice on the update, or the learning rate times E[s]."""
    rolled = control == "none"
    target = ",target=update" if rolled else ""
    made = summaries(trained)[f"optimizer=Adam,control={control}{target},threshold=5,seed=1"]
    seed_everything(1, verbose=False)
    factor = 1 if rolled else float(THROWS[0].odds().mean)
    model = Net(lambda parameters: torch.optim.Adam(parameters, lr=0.02 * factor))
    callback = SavingThrowCallback(THROWS[0], target="update", seed=1)
    trainer = Trainer(
        accelerator="cpu",
        max_steps=4,
        logger=False,
        callbacks=[callback] if rolled else [],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(model, Data())
    (reached,) = trainer.validate(model, Data(), verbose=False)
    assert made["metrics"]["val_loss"] == pytest.approx(reached["val_loss"], rel=1e-6)


def test_what_has_finished_is_not_made_again_and_more_may_be_asked_for(tmp_path, capsys):
    few = {**SETTINGS, "throws": THROWS[:1], "seeds": [0], "targets": ["update"]}
    few["folder"] = tmp_path
    train_tolerance(Net, Data, {"SGD": OPTIMIZERS["SGD"]}, **few)
    before = summaries(tmp_path)
    more = {**few, "throws": [THROWS[0], SavingThrow("d20", 5, scaling="skip")]}
    train_tolerance(Net, Data, {"SGD": OPTIMIZERS["SGD"]}, **more)
    assert capsys.readouterr().out.splitlines() == [
        f"3 of 3 runs have finished in {tmp_path}",
        f"what they found: {read_with('tolerance', tmp_path)}",
        f"5 of 5 runs have finished in {tmp_path}, 3 of them before",
        f"what they found: {read_with('tolerance', tmp_path)}",
    ]
    now = summaries(tmp_path)
    assert {name: now[name] for name in before} == before
    assert now.keys() - before.keys() == {
        "optimizer=SGD,control=none,target=update,threshold=5,scaling=skip,seed=0",
        "optimizer=SGD,control=plain_mean,threshold=5,scaling=skip,seed=0",
    }


def test_other_settings_are_not_mixed_with_what_is_there(trained):
    faster = {**OPTIMIZERS, "SGD": partial(torch.optim.SGD, lr=0.1)}
    before = summaries(trained)
    with pytest.raises(SettingError, match=r"other settings: optimizer\.lr=0\.05 \(now 0\.1\)"):
        train_tolerance(Net, Data, faster, folder=trained, **SETTINGS)
    assert summaries(trained) == before


def test_a_run_that_fails_leaves_the_others_alone(tmp_path):
    def make(optimizer):
        return (Fails if optimizer.func is OPTIMIZERS["Adam"] else Net)(optimizer)

    few = {**SETTINGS, "throws": THROWS[:1], "seeds": [0], "targets": ["update"]}
    with pytest.raises(SweepEnded, match=r"^failed: ArithmeticError: a cosmic ray .* and 2 more"):
        train_tolerance(make, Data, OPTIMIZERS, folder=tmp_path, **few)
    ends = {name: summary["status"] for name, summary in summaries(tmp_path).items()}
    assert ends == {name: "failed" if "Adam" in name else "finished" for name in ends}
    assert len(ends) == 6


def test_a_model_that_makes_its_own_optimizer_is_compared_with_nothing(tmp_path):
    few = {**SETTINGS, "throws": THROWS[:1], "seeds": [0], "targets": ["update"]}
    with pytest.raises(SweepEnded, match="makes no use of the `optimizer` that it was given"):
        train_tolerance(MakesItsOwn, Data, OPTIMIZERS, folder=tmp_path, **few)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"throws": []}, r"throws=\[\]: leaves nothing to train"),
        ({"seeds": []}, r"seeds=\[\]"),
        ({"targets": ["weights"]}, "target='weights': expected gradient or update"),
        ({"mode": "up"}, r"metric\.mode='up': expected min or max"),
        ({"colour": "red"}, "trainer=.*colour"),
        ({"max_steps": "many"}, "trainer=.*many"),
    ],
)
def test_bad_settings_are_refused_before_anything_is_written(tmp_path, changed, message):
    with pytest.raises(SettingError, match=message):
        train_tolerance(Net, Data, OPTIMIZERS, folder=tmp_path / "x", **{**SETTINGS, **changed})
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("optimizers", "message"),
    [
        ({}, r"optimizers=\[\]: leaves nothing to train"),
        ({"SGD": partial(torch.optim.SGD, lr=-1)}, "optimizers='SGD': makes no optimizer of"),
    ],
)
def test_optimizers_that_cannot_be_made_are_refused(tmp_path, optimizers, message):
    with pytest.raises(SettingError, match=message):
        train_tolerance(Net, Data, optimizers, folder=tmp_path / "x", **SETTINGS)
    assert not (tmp_path / "x").exists()


def test_several_devices_are_refused(tmp_path):
    few = {**SETTINGS, "throws": THROWS[:1], "seeds": [0], "devices": 2, "strategy": "ddp"}
    train_tolerance(Net, Data, OPTIMIZERS, folder=tmp_path, **few)
    made = summaries(tmp_path).values()
    assert {summary["status"] for summary in made} == {"refused"}
    assert all("trains in one process" in summary["error"] for summary in made)


def test_what_is_bound_to_a_function_is_described():
    made = partial(Net, width=3, optimizer=print)
    assert describe(made) == {"_target_": "support.own.Net", "width": 3}
    assert describe(Data) == {"_target_": "support.own.Data"}
