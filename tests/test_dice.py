"""Dice in use: one key, one roll, one record; and which windows are discarded whole."""

from hypothesis import given
from hypothesis import strategies as st

from lightning_dice.dice import Dice
from lightning_dice.records import RollLog
from lightning_dice.rules import Roller, SavingThrow
from lightning_dice.windows import Windows

THROW = SavingThrow("d20", 10)


def test_asking_again_gives_the_same_roll_and_no_second_record():
    log = RollLog()
    dice = Dice(THROW, 3, log)
    rolls = [dice.roll(step, step=step, batch=2 * step)[0] for step in (0, 0, 0, 1, 1, 2)]
    assert [roll.natural for roll in rolls[2:]] == [
        Roller(THROW, 3).roll(step).natural for step in (0, 1, 1, 2)
    ]
    assert [(r.step, r.batch) for r in log.recent] == [(0, 0), (1, 2), (2, 4)]
    assert dice.newest == [rolls[-1]] == [log.recent[-1].roll]


def test_an_optimizer_that_is_not_rolled_for_leaves_the_newest_roll():
    dice = Dice(THROW, 3, RollLog())
    rolls = dice.roll(0, step=0, batch=0)
    assert dice.roll(1, step=1, batch=0, optimizer=1, slots=()) == []
    assert dice.newest == rolls


def test_optimizers_and_saving_throws_have_streams_of_their_own():
    def naturals(ordinal, optimizer):
        dice = Dice(THROW, 3, RollLog(), ordinal)
        rolls = (dice.roll(k, step=k, batch=k, optimizer=optimizer) for k in range(40))
        return tuple(roll.natural for (roll,) in rolls)

    streams = [naturals(ordinal, optimizer) for ordinal in (0, 1) for optimizer in (0, 1)]
    assert len(set(streams)) == 4
    assert streams[0] == tuple(Roller(THROW, 3).naturals(0, 40))
    assert streams[1] == tuple(Roller(THROW, 3, stream=1).naturals(0, 40))
    assert streams[2] == tuple(Roller(THROW, 3, stream=2**32).naturals(0, 40))


def test_one_optimizers_step_does_not_hide_anothers():
    log = RollLog()
    dice = Dice(THROW, 3, log)
    for optimizer in (0, 1, 0):
        dice.roll(5, step=5, batch=5, optimizer=optimizer)
    assert [record.optimizer for record in log.recent] == [0, 1]


class TestWindows:
    @given(
        discards=st.lists(st.booleans(), min_size=1, max_size=40),
        window=st.integers(1, 5),
    )
    def test_a_window_is_discarded_when_all_of_it_is(self, discards, window):
        windows = Windows()
        for batch, discard in enumerate(discards):
            windows.rolled(batch, discard)
            if (batch + 1) % window == 0:
                inside = discards[batch + 1 - window : batch + 1]
                step = batch // window
                assert windows.discarded(step, batch, 0) == all(inside)
                assert windows.discarded(step, batch, 0) == all(inside), "asked again"

    def test_optimizers_have_windows_of_their_own(self):
        windows = Windows()
        windows.rolled(0, discard=False)
        assert not windows.discarded(step=0, batch=0, optimizer=0)
        windows.rolled(1, discard=True)
        assert windows.discarded(step=1, batch=1, optimizer=0)
        assert not windows.discarded(step=2, batch=1, optimizer=1), "it still has batch 0's"

    def test_a_second_step_in_one_batch_rests_on_that_batch(self):
        windows = Windows()
        windows.rolled(4, discard=False)
        assert not windows.discarded(step=0, batch=4, optimizer=0)
        assert not windows.discarded(step=1, batch=4, optimizer=0)
        windows.rolled(5, discard=True)
        assert windows.discarded(step=2, batch=5, optimizer=0)
        assert windows.discarded(step=3, batch=5, optimizer=0)
