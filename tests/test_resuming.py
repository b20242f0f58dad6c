"""Going on from a checkpoint: the same saving throw, or a change that is asked for by name."""

import pytest
import torch

from lightning_dice import SavingThrow, SavingThrowCallback
from lightning_dice.resuming import find_state
from lightning_dice.rules import SettingError
from support.toy import Toy, fit, loader, quiet_trainer, sgd

TEN, TWELVE = SavingThrow("d20", 10), SavingThrow("d20", 12)


@pytest.fixture
def checkpoint(tmp_path):
    trainer = fit(Toy(sgd), [SavingThrowCallback(TEN, seed=3)], max_steps=4)
    trainer.save_checkpoint(tmp_path / "four.ckpt")
    return tmp_path / "four.ckpt"


def resume(checkpoint, dice):
    quiet_trainer([dice], max_steps=8).fit(Toy(sgd), loader(), ckpt_path=checkpoint)
    return [record.natural for record in dice.rolls.recent]


@pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`")
@pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint that ended before the epoch")
class TestChanges:
    def test_another_saving_throw_is_refused_and_told_how_to_ask(self, checkpoint):
        with pytest.raises(SettingError, match=r"threshold=12: .* changes=\['threshold'\]"):
            resume(checkpoint, SavingThrowCallback(TWELVE, seed=3))

    def test_a_change_by_name_goes_on_with_the_sequence(self, checkpoint):
        dice = SavingThrowCallback(TWELVE, seed=3, changes=["threshold"])
        same = SavingThrowCallback(TEN, seed=3)
        assert resume(checkpoint, dice) == resume(checkpoint, same)
        assert dice.rolls.recent[0].step == 4

    def test_counts_begin_where_the_saving_throw_does(self, checkpoint):
        changed = SavingThrowCallback(TWELVE, seed=3, changes=["threshold"])
        same = SavingThrowCallback(TEN, seed=3)
        for dice in (changed, same):
            resume(checkpoint, dice)
        assert (changed.rolls.tally.rolls, changed.rolls.since) == (4, 4)
        assert (same.rolls.tally.rolls, same.rolls.since) == (8, 0)

    def test_only_what_is_named_may_differ(self, checkpoint):
        dice = SavingThrowCallback(TWELVE, seed=3, target="update", changes=["threshold"])
        with pytest.raises(SettingError, match=r"target='update': .* with target='gradient'"):
            resume(checkpoint, dice)

    def test_the_seed_may_change(self, checkpoint):
        dice = SavingThrowCallback(TEN, seed=4, changes=["seed"])
        resume(checkpoint, dice)
        assert dice.settings["seed"] == 4

    def test_a_name_that_is_none_is_refused_at_once(self):
        with pytest.raises(SettingError, match=r"changes='treshold': expected names of settings"):
            SavingThrowCallback(TEN, changes=["treshold"])


@pytest.mark.parametrize("scaling", ["margin", "skip", "proportional", [None, 0.1, -0.25, 1]])
def test_state_loads_without_trusting_the_file(tmp_path, scaling):
    throw = SavingThrow("d4", 2, scaling, normalize="rms")
    dice = SavingThrowCallback(throw, seed=3, scope="tensor", include=["*weight"])
    fit(Toy(sgd), [dice], max_steps=4).save_checkpoint(tmp_path / "x.ckpt")
    states = torch.load(tmp_path / "x.ckpt", weights_only=True)["callbacks"]
    assert states[dice.state_key] == dice.state_dict()


def test_of_several_states_the_one_that_may_be_changed_is_taken():
    mine = {"threshold": 15, "target": "update", "seed": 1}
    states = {
        "Dice{a}": {"settings": {"threshold": 10, "target": "gradient", "seed": 1}},
        "Dice{b}": {"settings": {"threshold": 10, "target": "update", "seed": 1}},
        "Other{c}": {},
    }
    found = find_state(mine, states, "Dice{mine}", {"Dice{mine}"}, ["threshold"])
    assert found is states["Dice{b}"]
    assert find_state(mine, states, "Dice{a}", {"Dice{a}"}) is None, "its own state is there"
    assert find_state(mine, {}, "Dice{mine}", {"Dice{mine}"}) is None
