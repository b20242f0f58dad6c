"""Turns are taken one at a time, and a ratio is to what was measured beside it."""

import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
from ratios import Turns, in_turns, ratios


def test_a_ratio_is_to_the_plain_training_of_the_same_round():
    row = ratios({"plain": [1.0, 2.0, 4.0, 8.0, 16.0], "dice": [1.5, 2.0, 6.0, 4.0, 24.0]})["dice"]
    assert (row["ratio"], row["low"], row["high"]) == (1.5, 1.0, 1.5)
    assert (row["seconds"], row["rounds"]) == (4.0, 5)


def test_one_at_a_time_each_as_often_and_in_changing_order():
    inside, log = [], []

    def way(name):
        def train(pass_on):
            while True:
                pass_on()
                inside.append(name)
                assert inside == [name]
                time.sleep(0.001)
                log.append(inside.pop())

        return train

    names = ["plain", "a", "b"]
    seconds = in_turns({name: way(name) for name in names}, rounds=20)
    assert {name: len(own) for name, own in seconds.items()} == dict.fromkeys(names, 20)
    assert all(took >= 0.001 for own in seconds.values() for took in own)
    rounds = [tuple(log[i : i + 3]) for i in range(0, len(log), 3)]
    assert all(sorted(one) == sorted(names) for one in rounds)
    assert len(set(rounds)) > 3


def test_what_is_slower_shows():
    def way(seconds):
        def train(pass_on):
            while True:
                pass_on()
                time.sleep(seconds)

        return train

    rows = ratios(in_turns({"plain": way(0.002), "dice": way(0.006)}, rounds=15))
    assert 2 < rows["dice"]["ratio"] < 4


def test_one_that_fails_ends_all():
    def fails(pass_on):
        pass_on()
        raise ValueError("out of dice")

    def goes_on(pass_on):
        while True:
            pass_on()

    with pytest.raises((ValueError, RuntimeError)) as raised:
        in_turns({"plain": goes_on, "dice": fails}, rounds=5)
    error = raised.value
    assert "out of dice" in str(error) + str(error.__cause__)


def test_warming_up_is_not_timed():
    turns = Turns(["plain"], rounds=2, warm=3)
    for _ in range(5):
        turns.pass_on("plain")
    with pytest.raises(Exception):  # noqa: B017, PT011 - the end of turns, of a class of its own
        turns.pass_on("plain")
    assert len(turns.seconds["plain"]) == 2
