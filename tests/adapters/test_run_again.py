"""A notebook's cell that failed, or was interrupted, is run again, while what it made lives on."""

import gc
import sys
import threading
import warnings

import pytest
import torch
from transformers import TrainerCallback

from lightning_dice import SavingThrow
from lightning_dice.adapters.huggingface import SavingThrowTrainerCallback
from lightning_dice.adapters.torch_loop import attach, detach
from lightning_dice.records import read_rolls
from lightning_dice.rules import Roller, SettingError
from support.hf import trainer
from support.toy import data, loss_of, network, sgd

THROW = SavingThrow("d20", threshold=10)
NATURALS = Roller(THROW, 5).naturals(0, 30).tolist()


def begin(folder, **settings):
    net = network()
    optimizer = sgd(net.parameters())
    settings = {"seed": 5, "scope": "model", **settings}
    return net, optimizer, attach(optimizer, THROW, folder=folder, **settings)


def train(net, optimizer, steps):
    for index in range(steps):
        optimizer.zero_grad()
        loss_of(net, data()[index % 12]).backward()
        optimizer.step()


def written(path):
    return [record.natural for record in read_rolls(path)]


class TestFolders:
    def test_who_begins_anew_takes_the_file_over(self, tmp_path):
        alive = []
        for steps in (4, 6, 2):
            net, optimizer, dice = begin(tmp_path)
            alive.append((net, optimizer, dice))
            train(net, optimizer, steps)
        dice.remove()
        assert written(tmp_path / "rolls.1.csv") == NATURALS[:4]
        assert written(tmp_path / "rolls.2.csv") == NATURALS[:6]
        assert written(tmp_path / "rolls.csv") == NATURALS[:2]

    @pytest.mark.parametrize("end", ["remove", "flush", "state_dict", "collected"])
    def test_what_lives_on_writes_no_more(self, end, tmp_path):
        old, new = [begin(tmp_path, scope="tensor") for _ in range(2)]
        train(*old[:2], 3)
        train(*new[:2], 2)
        if end == "collected":
            del old
            gc.collect()
        else:
            getattr(old[2], end)()
        new[2].remove()
        assert len(written(tmp_path / "rolls.csv")) == 2 * 4
        assert len(written(tmp_path / "rolls.1.csv")) == 3 * 4
        assert len((tmp_path / "slots.csv").read_text().split()) == 5

    def test_who_goes_on_from_a_checkpoint_has_the_rows_before_it(self, tmp_path):
        old = begin(tmp_path)
        train(*old[:2], 4)
        state = old[2].state_dict()
        train(*old[:2], 3)  # is lost
        new = begin(tmp_path)
        new[2].load_state_dict(state)
        train(*new[:2], 2)
        new[2].remove()
        assert written(tmp_path / "rolls.csv") == NATURALS[:6]

    def test_the_old_dice_may_take_it_back_by_beginning_anew(self, tmp_path):
        old, new = begin(tmp_path), begin(tmp_path)
        train(*old[:2], 3)
        train(*new[:2], 2)
        old[2].go_on(0)
        train(*old[:2], 1)
        with pytest.raises(SettingError, match="other dice write"):
            train(*new[:2], 1)
        old[2].remove()
        assert written(tmp_path / "rolls.csv") == NATURALS[:1]

    def test_a_step_that_is_refused_leaves_the_weights(self, tmp_path):
        old, new = begin(tmp_path), begin(tmp_path)
        train(*old[:2], 1)
        train(*new[:2], 1)
        before = [p.detach().clone() for p in old[0].parameters()]
        for _ in range(2):
            with pytest.raises(SettingError, match="other dice write"):
                train(*old[:2], 1)
        assert all(map(torch.equal, old[0].parameters(), before))

    def test_a_folder_of_the_old_that_is_gone_is_nobodys_concern(self, tmp_path):
        folder = tmp_path / "runs"
        old, new = begin(folder), begin(folder)
        train(*old[:2], 3)
        for path in folder.iterdir():
            path.unlink()
        train(*new[:2], 2)
        new[2].remove()
        old[2].remove()
        assert written(folder / "rolls.csv") == NATURALS[:2]

    def test_of_many_threads_that_begin_one_keeps_the_file(self, tmp_path):
        several = [begin(tmp_path) for _ in range(6)]
        start, refused = threading.Barrier(len(several)), []

        def run(net, optimizer):
            start.wait()
            try:
                train(net, optimizer, 5)
            except SettingError as error:
                refused.append(str(error))

        threads = [threading.Thread(target=run, args=one[:2]) for one in several]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for _, _, dice in several:
            dice.remove()
        assert all("other dice write" in message for message in refused)
        assert written(tmp_path / "rolls.csv") == NATURALS[:5]


class TestTheSameOptimizer:
    def test_dice_that_rolled_are_replaced(self, tmp_path):
        net, optimizer, old = begin(tmp_path)
        train(net, optimizer, 4)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            new = attach(optimizer, THROW, folder=tmp_path, seed=5)
        train(net, optimizer, 2)
        old.remove()
        train(net, optimizer, 1)
        assert [record.natural for record in new.rolls.recent] == NATURALS[:3]
        assert len(old.rolls.recent) == 4
        new.remove()
        assert written(tmp_path / "rolls.1.csv") == NATURALS[:4]
        assert written(tmp_path / "rolls.csv") == NATURALS[:3]
        assert "_lightning_dice_layers" not in vars(optimizer)

    def test_that_others_take_their_place_is_said(self):
        net, optimizer, _ = begin(None)
        train(net, optimizer, 4)
        expected = r"place of those with threshold=10, which rolled 4 times; attach with ordinal=1"
        with pytest.warns(UserWarning, match=expected) as caught:
            attach(optimizer, SavingThrow("d20", threshold=9), seed=5)
        assert caught[0].filename == __file__

    def test_dice_that_never_rolled_are_replaced_where_a_cell_failed(self, monkeypatch):
        """As where the first line of the loop has a mistake: the cell is mended and run again."""
        net, optimizer, _ = begin(None)
        try:
            raise NameError("a cell failed")
        except NameError as error:
            monkeypatch.setattr(sys, "last_traceback", error.__traceback__, raising=False)
        new = attach(optimizer, THROW, seed=5)
        train(net, optimizer, 3)
        assert [record.natural for record in new.rolls.recent] == NATURALS[:3]

    def test_dice_that_never_rolled_are_in_the_way_until_they_are_detached(self):
        _, optimizer, _ = begin(None)
        attach(optimizer, THROW, seed=5, ordinal=1)
        with pytest.raises(SettingError, match=r"ordinal=0: .*torch_loop\.detach\(optimizer\)"):
            attach(optimizer, THROW, seed=5)
        detach([optimizer])
        assert "_lightning_dice_layers" not in vars(optimizer), "all of them are"
        attach(optimizer, THROW, seed=5)
        detach(sgd(network().parameters()))


class Interrupts(TrainerCallback):
    def __init__(self, step):
        self.step = step

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == self.step:
            raise KeyboardInterrupt


@pytest.mark.parametrize("new", ["trainer", "callback", "nothing"])
def test_a_trainer_of_huggingfaces_that_was_interrupted(new, tmp_path):
    alive = SavingThrowTrainerCallback(THROW, seed=5)
    stops = Interrupts(4)
    first = trainer(tmp_path, [alive, stops])
    with pytest.raises(KeyboardInterrupt):
        first.train()
    dice, second = alive, first
    stops.step = None
    if new != "nothing":
        dice = SavingThrowTrainerCallback(THROW, seed=5)
    if new == "trainer":
        second = trainer(tmp_path, [dice])
    if new == "callback":
        first.remove_callback(alive)
        first.add_callback(dice)
    second.train()
    assert written(tmp_path / "rolls.csv") == NATURALS[:12]
    assert written(tmp_path / "rolls.1.csv") == NATURALS[:4]
