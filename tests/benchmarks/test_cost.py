"""What dice cost beside a tiny model, so that nobody makes them dear unawares.

Turns are short and many, as others compute on the same machine: what counts is the lower end of
what the median may be.
"""

import sys
from math import sqrt
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
from cpu import trainings
from peers import DICE, PEERS

MOST = 1.10
ROUNDS = 800


@pytest.fixture(scope="module")
def rows():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    dear = "straightforward callback"
    ways = {"plain": list, **{kind: DICE[kind] for kind in ("gradient", "update")}}
    rows = trainings({**ways, dear: PEERS[dear]}, ROUNDS)
    torch.set_num_threads(before)
    return rows


def at_least(row):
    """Three standard errors of a median, of what is spread as a normal distribution's quartiles."""
    deviation = (row["high"] - row["low"]) / 1.349
    return row["ratio"] - 3 * 1.253 * deviation / sqrt(row["rounds"])


@pytest.mark.parametrize("kind", ["gradient", "update"])
def test_dice_cost_at_most_a_tenth_of_a_tiny_step(rows, kind):
    assert at_least(rows[kind]) < MOST, rows[kind]


def test_what_costs_more_is_noticed(rows):
    assert at_least(rows["straightforward callback"]) > MOST
