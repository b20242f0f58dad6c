"""What ranks compare before they train; that they do it among processes is in `distributed`."""

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer

from lightning_dice import SavingThrowCallback
from lightning_dice.ranks import check_same, gather, optimizer_settings, training_settings
from lightning_dice.rules import SettingError

QUIET = {"accelerator": "cpu", "logger": False, "enable_checkpointing": False}


def test_one_process_has_only_itself():
    assert gather({"seed": 3}, processes=1) == [{"seed": 3}]
    check_same([{"weight_decay": float("nan")}])


def test_one_process_asks_nobody_in_another_ones_group(monkeypatch):
    """As after a training of several processes, or where each rank has a model of its own."""
    monkeypatch.setattr("torch.distributed.is_initialized", lambda: True)
    monkeypatch.setattr("torch.distributed.all_gather_object", None)
    assert gather(1, processes=1) == [1]


def test_ranks_that_agree_pass():
    check_same([{"seed": None, "throw": [1.0, None]}] * 3)


def test_every_setting_that_differs_is_named_with_its_values():
    ranks = [{"lr": 0.1, "seed": 6, "die": "d20"}, {"lr": 0.2, "seed": 7, "die": "d20"}]
    with pytest.raises(SettingError) as error:
        check_same(ranks)
    assert str(error.value).startswith("lr=[0.1, 0.2]: the ranks differ, also in seed [6, 7];")
    assert "die" not in str(error.value)


def test_a_setting_that_only_some_have_differs():
    with pytest.raises(SettingError, match=r"depth=\['\(none\)', 3\]"):
        check_same([{}, {"depth": 3}])


def test_of_many_ranks_one_that_differs_is_shown():
    with pytest.raises(SettingError, match=r"seed=\{0: 1, 40: 2\}"):
        check_same([{"seed": 1}] * 40 + [{"seed": 2}] * 60)


def test_the_numbers_of_optimizers_are_compared():
    weights = [torch.nn.Parameter(torch.ones(1)) for _ in range(3)]
    groups = [{"params": weights[:1]}, {"params": weights[1:2], "lr": torch.tensor(0.5)}]
    settings = optimizer_settings(
        [torch.optim.AdamW(groups, lr=0.25), torch.optim.SGD(weights[2:], momentum=0.75)]
    )
    assert settings["AdamW.lr"] == 0.25
    assert settings["AdamW.betas"] == (0.9, 0.999)
    assert settings["AdamW.param_groups[1].lr"] == 0.5
    assert settings["SGD[1].momentum"] == 0.75
    assert not [name for name in settings if name.endswith("params")]


def test_what_a_trainer_was_given_is_compared():
    trainer = Trainer(max_steps=7, accumulate_grad_batches=2, **QUIET)
    settings = training_settings(trainer)
    assert settings["trainer.max_steps"] == 7
    assert settings["trainer.accumulate_grad_batches"] == 2


def test_so_are_the_overrides_of_a_program_that_hydra_composed(monkeypatch):
    from hydra.core.hydra_config import HydraConfig
    from omegaconf import OmegaConf

    given = OmegaConf.create({"overrides": {"task": ["lr=0.0869", "+experiment=mine"]}})
    monkeypatch.setattr(HydraConfig, "initialized", lambda: True)
    monkeypatch.setattr(HydraConfig, "get", lambda: given)
    settings = training_settings(Trainer(**QUIET))
    assert (settings["lr"], settings["+experiment"]) == ("0.0869", "mine")


def test_what_was_typed_does_not_hide_what_the_callback_has(monkeypatch):
    """A program may make of an override what it likes, such as ``seed=config.seed + rank``."""
    callback = SavingThrowCallback(seed=1)
    trainer = Trainer(callbacks=[callback], **QUIET)
    monkeypatch.setattr("lightning_dice.callback.training_settings", lambda _: {"seed": "0"})

    def two_ranks(mine, _):
        settings, typed, drawn = mine
        return [mine, ({**settings, "seed": 2}, typed, drawn)]

    monkeypatch.setattr("lightning_dice.callback.gather", two_ranks)
    with pytest.raises(SettingError, match=r"seed=\[1, 2\]: the ranks differ"):
        callback.setup(trainer, LightningModule(), "fit")
