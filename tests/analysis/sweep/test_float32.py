"""Differences that are only the rounding of float32 are no differences."""

import math

import numpy as np
import pytest

from lightning_dice.analysis.rounding import rounding_error
from lightning_dice.analysis.sweep.statistics import (
    BETTER,
    NO_TEST,
    OPEN,
    TOO_FEW,
    WORSE,
    interval,
)

IMAGES = 359
LOSS = {"metric": "val_loss", "unit": "nats", "mode": "min"}


def float32(values):
    """The values as a logger writes them and a report reads them back."""
    return [float(np.float32(value)) for value in values]


def shares(counts):
    """Accuracies over 359 images."""
    return float32(np.float32(count) / np.float32(IMAGES) for count in counts)


def compared(results, control="plain"):
    (row,) = (rows[control] for rows in results.compared.values() if control in rows)
    return row


def test_one_image_more_in_both_of_two_seeds_is_no_finding(sweep):
    sweep.arm([0.9805014133453369, 0.9888579249382019])
    sweep.arm([0.9777158498764038, 0.9860724210739136], control="deck")
    row = compared(sweep.load(), "deck")
    assert (row.finding, row.n, row.wins, row.losses) == (TOO_FEW, 2, 2, 0)
    assert math.isnan(row.p)
    assert math.isnan(row.ci_low)


@pytest.mark.parametrize("seeds", [4, 5, 10, 30])
@pytest.mark.parametrize("off", [-40, -1, 1])
def test_the_same_number_of_images_in_every_seed_has_no_test(sweep, seeds, off):
    counts = [300 + place % 47 for place in range(seeds)]
    sweep.arm(shares(count + off for count in counts))
    sweep.arm(shares(counts), control="plain")
    row = compared(sweep.load())
    assert row.finding == NO_TEST
    assert row.difference == pytest.approx(off / IMAGES, abs=1e-6)
    assert all(math.isnan(getattr(row, name)) for name in ("p", "ci_low", "detectable"))


def test_the_same_value_summed_in_another_order_is_a_tie(sweep):
    plain = float32([0.9805, 0.4321, 0.77777, 0.6, 0.1234])
    up = [float(np.nextafter(np.float32(value), np.float32(1))) for value in plain]
    up[1] = float(np.nextafter(np.float32(plain[1]), np.float32(0)))
    assert all(a != b for a, b in zip(up, plain, strict=True))
    sweep.arm(up)
    sweep.arm(plain, control="plain")
    row = compared(sweep.load())
    assert (row.wins, row.losses, row.ties, row.finding) == (0, 0, 5, OPEN)
    assert row.difference == 0


@pytest.mark.parametrize("size", [1e-8, 1e-4, 1.0, 1e6])
def test_real_differences_count_whatever_the_size_of_the_loss(sweep, size):
    rng = np.random.default_rng(0)
    plain = size * (1 + rng.normal(0, 0.01, 8))
    sweep.arm(float32(plain), control="plain", task=LOSS, baseline=4 * size)
    sweep.arm(float32(0.97 * plain * (1 + rng.normal(0, 1e-3, 8))), task=LOSS, baseline=4 * size)
    row = compared(sweep.load())
    assert (row.finding, row.wins) == (BETTER, 8)


@pytest.mark.parametrize("size", [1e-8, 1e-4, 1.0, 1e6])
def test_rounding_does_not_count_whatever_the_size_of_the_loss(sweep, size):
    rng = np.random.default_rng(0)
    plain = size * (1 + rng.uniform(0, 1, 8))
    sweep.arm(float32(plain), control="plain", task=LOSS, baseline=4 * size)
    sweep.arm(float32(plain + 0.125 * size), task=LOSS, baseline=4 * size)
    assert compared(sweep.load()).finding == NO_TEST


def test_accuracies_close_to_1_can_be_told_apart(sweep):
    images = 1_000_000
    wrong = np.array([3, 5, 4, 6, 2, 4])
    more = wrong + np.array([7, 9, 6, 8, 10, 7])
    sweep.arm(float32(1 - more / images))
    sweep.arm(float32(1 - wrong / images), control="plain")
    row = compared(sweep.load())
    assert (row.finding, row.losses) == (WORSE, 6)


def test_an_arm_whose_values_are_the_same_has_no_interval(sweep):
    value = np.float32(0.9777158)
    near = [value, np.nextafter(value, np.float32(1)), value, value, value]
    sweep.arm([float(one) for one in near])
    (row,) = sweep.load().summaries.values()
    assert row.sd > 0
    assert math.isnan(row.ci_low)


def test_plain_at_the_baseline_has_not_learned_by_rounding(sweep):
    exact, rounded = 37 / IMAGES, float(np.float32(37 / IMAGES))
    assert exact != rounded
    for base in (exact, np.nextafter(exact, 0)):
        sweep.arm([rounded] * 4, control="plain", baseline=float(base))
        sweep.arm([rounded] * 4, baseline=float(base))
    results = sweep.load()
    assert {row.learned for row in results.summaries.values()} == {False}


@pytest.mark.parametrize("size", [0.0, 1e-30, 1e-4, 0.98, 1e9])
def test_the_guard_grows_with_the_values(size):
    steps = 2.0 ** (math.floor(math.log2(size)) - 23) if size else 0.0  # one step of float32
    assert steps / 2 <= rounding_error(size) <= 16 * steps
    assert rounding_error(-size) == rounding_error(size)


def test_an_interval_needs_four_values():
    low, high = interval(np.arange(6.0), np.full(6, 0.5), np.full(6, 0.01))
    assert np.isnan(low).tolist() == [True] * 4 + [False] * 2
    assert np.isnan(high).tolist() == np.isnan(low).tolist()
