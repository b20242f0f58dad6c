"""What an attached handle keeps: state, files, seeds, refusals."""

import gc
import shutil
import warnings

import pytest
import torch

from lightning_dice import SavingThrow
from lightning_dice.adapters.torch_loop import attach
from lightning_dice.records import read_rolls
from lightning_dice.rules import Roller, SettingError
from support.toy import adamw, data, loss_of, network, same, sgd

THROW = SavingThrow("d20", threshold=10)
MINI = {"granularity": "per_mini_batch"}


def naturals(records):
    return [record.natural for record in records]


def train(dice, net, optimizer, steps, start=0):
    for index in range(start, start + steps):
        optimizer.zero_grad()
        dice.backward(loss_of(net, data()[index % 12]))
        optimizer.step()


def begin(**settings):
    net = network()
    optimizer = adamw(net.parameters())
    return net, optimizer, attach(optimizer, **{"throw": THROW, "seed": 5, **settings})


class TestState:
    @pytest.mark.parametrize("settings", [{}, {"target": "update", "scope": "tensor"}, MINI])
    def test_a_resumed_loop_ends_as_one_that_was_not_interrupted(self, settings, tmp_path):
        net, optimizer, dice = begin(**settings, folder=tmp_path / "whole")
        train(dice, net, optimizer, 20)
        dice.remove()

        first, optimizer, dice = begin(**settings, folder=tmp_path / "parts")
        train(dice, first, optimizer, 8)
        torch.save(
            [first.state_dict(), optimizer.state_dict(), dice.state_dict()], tmp_path / "c.pt"
        )
        train(dice, first, optimizer, 3, start=8)  # lost

        second, optimizer, dice = begin(**settings, folder=tmp_path / "parts")
        for part, state in zip(
            (second, optimizer, dice), torch.load(tmp_path / "c.pt", weights_only=True), strict=True
        ):
            part.load_state_dict(state)
        train(dice, second, optimizer, 12, start=8)
        dice.remove()
        assert same(second.parameters(), net.parameters())
        for name in ("rolls.csv", "slots.csv") if "scope" in settings else ("rolls.csv",):
            ours, theirs = (tmp_path / folder / name for folder in ("parts", "whole"))
            assert ours.read_text() == theirs.read_text()
        assert dice.rolls.tally.rolls == len(list(read_rolls(tmp_path / "whole" / "rolls.csv")))

    def test_a_state_of_something_else_is_refused(self):
        _net, optimizer, dice = begin()
        with pytest.raises(SettingError, match=r"state=.*: expected what state_dict"):
            dice.load_state_dict(optimizer.state_dict())

    def test_a_step_that_raised_has_the_same_roll_again(self):
        net, optimizer, dice = begin()

        def fails():
            raise MemoryError

        with pytest.raises(MemoryError):
            optimizer.step(fails)
        train(dice, net, optimizer, 2)
        assert [record.step for record in dice.rolls.recent] == [0, 1]
        assert dice.state_dict()["step"] == 2

    def test_the_same_handle_may_go_back(self):
        net, optimizer, dice = begin()
        train(dice, net, optimizer, 3)
        state = dice.state_dict()
        train(dice, net, optimizer, 4)
        dice.load_state_dict(state)
        train(dice, net, optimizer, 4)
        rolled = Roller(THROW, 5).naturals(3, 4).tolist()
        assert naturals(dice.rolls.recent) == rolled
        assert dice.rolls.tally.rolls == 7

    def test_another_saving_throw_is_refused_unless_by_name(self):
        state = begin()[2].state_dict()
        with pytest.raises(SettingError, match=r"threshold=12: .* changes=\['threshold'\]"):
            begin(throw=SavingThrow("d20", 12))[2].load_state_dict(state)
        net, optimizer, dice = begin(throw=SavingThrow("d20", 12), changes=["threshold"])
        dice.load_state_dict({**state, "step": 6})
        train(dice, net, optimizer, 2)
        assert dice.rolls.tally.rolls == 2
        assert dice.rolls.since == 6

    def test_a_seed_that_was_drawn_is_kept(self):
        state = begin(seed=None)[2].state_dict()
        dice = begin(seed=None)[2]
        dice.load_state_dict(state)
        assert dice.seed == state["settings"]["seed"]

    def test_where_no_state_was_kept_a_loop_says_how_far_it_is(self):
        net, optimizer, dice = begin()
        dice.go_on(step=100)
        train(dice, net, optimizer, 3)
        assert naturals(dice.rolls.recent) == Roller(THROW, 5).naturals(100, 3).tolist()
        assert dice.rolls.since == 100


class TestFiles:
    def test_every_roll_is_in_the_file_once_the_handle_is_gone(self, tmp_path):
        net, optimizer, dice = begin(folder=tmp_path)
        train(dice, net, optimizer, 7)
        recent = list(dice.rolls.recent)
        assert recent[-1].roll == dice.last_roll
        del dice, optimizer
        gc.collect()
        assert list(read_rolls(tmp_path / "rolls.csv")) == recent

    def test_a_new_loop_moves_the_rolls_of_another_aside(self, tmp_path):
        for _ in range(2):
            net, optimizer, dice = begin(folder=tmp_path)
            train(dice, net, optimizer, 3)
            dice.remove()
        names = ["rolls.1.csv", "rolls.csv", "saving_throw.json"]
        assert sorted(p.name for p in tmp_path.iterdir()) == names

    def test_another_saving_throw_has_a_file_of_its_own(self, tmp_path):
        net, optimizer, dice = begin(folder=tmp_path)
        other = attach(optimizer, THROW, seed=5, ordinal=1, folder=tmp_path)
        train(dice, net, optimizer, 3)
        dice.remove()
        other.remove()
        for own, name in ((dice, "rolls.csv"), (other, "rolls-2.csv")):
            assert list(read_rolls(tmp_path / name)) == list(own.rolls.recent)

    def test_a_folder_that_cannot_be_written_is_said_as_often_as_it_is_met(self, tmp_path):
        (tmp_path / "file").touch()
        net, optimizer, dice = begin(folder=tmp_path / "file")
        for _ in range(2):
            with pytest.raises(SettingError, match=r"rolls\.csv cannot be written there"):
                train(dice, net, optimizer, 1)

    def test_two_that_are_stepped_in_turns_need_a_file_each(self, tmp_path):
        first, second = begin(folder=tmp_path), begin(folder=tmp_path)
        train(first[2], first[0], first[1], 3)
        train(second[2], second[0], second[1], 1)
        with pytest.raises(SettingError, match=r"folder=.*other dice write .* ordinal=1"):
            train(first[2], first[0], first[1], 1)
        for dice in (first[2], second[2]):
            dice.remove()
        written = [len(list(read_rolls(tmp_path / name))) for name in ("rolls.1.csv", "rolls.csv")]
        assert written == [3, 1]

    def test_one_that_is_removed_twice_leaves_its_files(self, tmp_path):
        net, optimizer, dice = begin(folder=tmp_path, scope="tensor", model=None)
        train(dice, net, optimizer, 2)
        for _ in range(2):
            dice.remove()
        assert len((tmp_path / "slots.csv").read_text().split()) == 5

    def test_an_error_of_the_loop_matters_more_than_one_of_the_file(self, tmp_path):
        net, optimizer, dice = begin(folder=tmp_path / "gone")
        train(dice, net, optimizer, 1)
        shutil.rmtree(tmp_path / "gone")
        with pytest.raises(ArithmeticError), dice:
            raise ArithmeticError("a cosmic ray")
        assert "step" not in vars(optimizer)
        dice.rolls._pending.clear()

    def test_without_a_folder_nothing_is_written(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        net, optimizer, dice = begin()
        train(dice, net, optimizer, 3)
        dice.remove()
        assert list(tmp_path.iterdir()) == []


class TestSeeds:
    def test_none_takes_that_of_seed_everything(self, monkeypatch):
        monkeypatch.setenv("PL_GLOBAL_SEED", "0")
        assert begin(seed=None)[2].seed == 0

    def test_or_draws_one(self, monkeypatch):
        monkeypatch.delenv("PL_GLOBAL_SEED", raising=False)
        seeds = {begin(seed=None)[2].settings["seed"] for _ in range(2)}
        assert len(seeds) == 2
        assert None not in seeds

    def test_the_global_random_state_is_untouched(self):
        net = network()
        optimizer = adamw(net.parameters())
        before = torch.random.get_rng_state()
        train(attach(optimizer, THROW), net, optimizer, 3)
        assert torch.equal(before, torch.random.get_rng_state())


class TestRefusals:
    def test_what_mini_batches_cannot_have(self):
        with pytest.raises(SettingError, match="target='update': a mini-batch's roll scales"):
            begin(**MINI, target="update")
        with pytest.raises(SettingError, match="ranks='independent': a step that every rank"):
            begin(ranks="independent")

    def test_what_is_no_optimizer(self):
        for given in (network(), [None], "adamw"):
            with pytest.raises(SettingError, match="expected an optimizer, or a list of them"):
                attach(given)
        with pytest.raises(SettingError, match=r"optimizer=\[\]: expected"):
            attach([])

    def test_the_same_one_twice_and_both_granularities(self):
        optimizer = sgd(network().parameters())
        with pytest.raises(SettingError, match="ordinal=0: the optimizer has these dice"):
            attach([optimizer, optimizer])
        attach(optimizer, **MINI)
        with pytest.raises(SettingError, match=r"granularity=.*both would roll for one gradient"):
            attach(optimizer, ordinal=1)

    def test_what_is_no_scaler(self):
        with pytest.raises(SettingError, match="scaler=True: expected a gradient scaler"):
            begin(scaler=True)

    def test_one_that_fails_leaves_nothing_on_the_optimizer(self):
        optimizer = sgd(network().parameters())
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with pytest.raises(UserWarning, match="will hardly learn"):
                attach(optimizer, SavingThrow("d20", threshold=15))
        assert "step" not in vars(optimizer)
        attach(optimizer, THROW)

    def test_deepspeeds(self):
        inside = type("DeepSpeedZeroOptimizer", (), {"__module__": "deepspeed.runtime.zero"})
        with pytest.raises(SettingError, match="DeepSpeed holds gradients in parts of its own"):
            attach(inside())

    @pytest.mark.parametrize("ordinal", [-1, 1000, 0.5, "1", True])
    def test_a_number_that_is_none(self, ordinal):
        with pytest.raises(SettingError, match=r"ordinal=.*: expected .* from 0 to 999"):
            begin(ordinal=ordinal)

    def test_a_saving_throw_that_is_none(self):
        with pytest.raises(SettingError, match="throw='d20': expected a SavingThrow"):
            begin(throw="d20")
        with pytest.raises(SettingError, match="target='weights': expected gradient or update"):
            begin(target="weights")

    def test_a_hopeless_saving_throw_says_what_to_expect_and_where(self):
        with pytest.warns(UserWarning, match="will hardly learn; lower the threshold") as caught:
            attach(sgd(network().parameters()), SavingThrow("d20", threshold=15))
        assert caught[0].filename == __file__

    def test_nothing_to_roll_for_is_said(self):
        net = network()
        with pytest.warns(UserWarning, match="nothing will be; include some that it has"):
            attach(sgd(net[0].parameters()), THROW, include=["2.*"], model=net)

    def test_an_ordinary_one_says_nothing(self):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            begin()


def test_it_loads_without_lightning_and_transformers():
    import subprocess
    import sys

    code = (
        "import sys; import lightning_dice.adapters.torch_loop;"
        "print({'lightning', 'pytorch_lightning', 'transformers', 'hydra'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stdout.strip() == "set()"
