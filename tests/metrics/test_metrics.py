"""Metrics over rolls against scipy and plain Python, whole and in parts."""

from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from lightning_dice import Outcome, SavingThrow
from lightning_dice.metrics import Luck, MeanScale, OutcomeCounts
from lightning_dice.metrics.functional import luck, mean_scale, outcome_counts
from lightning_dice.rules import Roller

THROWS = [
    SavingThrow("d20", 10),
    SavingThrow("d20", 15, "skip"),
    SavingThrow("2d20kh1+1", 12, "proportional"),
    SavingThrow("d4", 1),
]
faces = st.lists(st.integers(1, 20), min_size=1, max_size=60)


@given(naturals=faces)
def test_counts(naturals):
    rolls = [THROWS[0].resolve(natural) for natural in naturals]
    expected = Counter(roll.outcome for roll in rolls)
    assert outcome_counts(rolls).tolist() == [expected[outcome] for outcome in Outcome]


@given(naturals=faces)
def test_mean_scale(naturals):
    rolls = [THROWS[1].resolve(natural) for natural in naturals]
    expected = sum(0 if roll.discard else roll.scale for roll in rolls) / len(rolls)
    assert mean_scale(rolls).item() == pytest.approx(expected, abs=1e-12)


@settings(max_examples=200)
@given(counts=st.lists(st.integers(0, 5000), min_size=4, max_size=4).filter(any))
def test_luck_is_scipys_chi_square(counts):
    odds = THROWS[0].odds()
    expected = [float(p) * sum(counts) for p in odds.probability.values()]
    reference = stats.chisquare(counts, expected).pvalue
    assert luck(torch.tensor(counts), odds).item() == pytest.approx(reference, rel=1e-9, abs=1e-290)


def test_luck_leaves_out_what_cannot_happen():
    """On a d4 with threshold 1 nothing fails: three outcomes, two degrees of freedom."""
    odds, counts = THROWS[3].odds(), [30, 0, 45, 25]
    assert odds.probability[Outcome.FAILURE] == 0
    reference = stats.chisquare([30, 45, 25], [25, 50, 25]).pvalue
    assert luck(torch.tensor(counts), odds).item() == pytest.approx(reference)
    assert luck(torch.tensor([30, 1, 45, 25]), odds).item() == 0
    assert luck(torch.zeros(4), odds).isnan()


def test_luck_of_a_coin_with_one_outcome_is_ordinary():
    class Sure:
        probability = dict.fromkeys(Outcome, 0) | {Outcome.SUCCESS: 1}

    assert luck(torch.tensor([0, 0, 9, 0]), Sure()).item() == 1


def test_honest_rolls_are_ordinary_and_loaded_ones_are_not():
    throw = THROWS[0]
    honest = [throw.resolve(int(n)) for n in Roller(throw, 0).naturals(0, 2000)]
    loaded = [roll for roll in honest if roll.natural != 1]
    assert luck(outcome_counts(honest), throw.odds()) > 0.01
    assert luck(outcome_counts(loaded), throw.odds()) < 1e-6


def test_p_values_are_uniform_over_seeds():
    throw, size = THROWS[0], 1000
    values = []
    for seed in range(300):
        rolls = [throw.resolve(int(n)) for n in Roller(throw, seed).naturals(0, size)]
        values.append(luck(outcome_counts(rolls), throw.odds()).item())
    assert stats.kstest(values, "uniform").pvalue > 0.001


@pytest.mark.parametrize("throw", THROWS, ids=str)
def test_classes_equal_functions_in_parts_and_merged(throw):
    rolls = [throw.resolve(int(n)) for n in Roller(throw, 5).naturals(0, 90)]
    functions = {
        OutcomeCounts: outcome_counts(rolls),
        MeanScale: mean_scale(rolls),
        Luck: luck(outcome_counts(rolls), throw.odds()),
    }
    for kind, expected in functions.items():
        arguments = (throw,) if kind is Luck else ()
        whole, left, right = kind(*arguments), kind(*arguments), kind(*arguments)
        for roll in rolls:
            whole.update(roll)
        left.update(rolls[:40])
        right.update(rolls[40:])
        left.merge_state(right)  # what two processes do
        torch.testing.assert_close(whole.compute(), expected)
        torch.testing.assert_close(left.compute(), expected)
        whole.reset()
        whole.update(rolls[:1])
        assert whole.update_count == 1
