import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_dice.analysis.stress.over_runs import window
from support.sweeps import LOSS

RATES = [0.01, 0.1, 0.3, 1.0, 3.0]
NAN = math.nan


@pytest.mark.parametrize(
    ("values", "mode", "low", "high", "cut"),
    [
        ([0.1, 0.96, 0.965, 0.96, 0.1], "max", 0.1, 1.0, (False, False)),
        ([0.1, 0.96, 0.99, 0.96, 0.1], "max", 0.3, 0.3, (False, False)),
        ([0.99, 0.99, 0.2, 0.991, 0.2], "max", 1.0, 1.0, (False, False)),  # not a neighbour
        ([0.99, 0.99, 0.99, 0.99, 0.99], "max", 0.01, 3.0, (True, True)),
        ([0.5, 0.99, 0.99, 0.99, 0.99], "max", 0.1, 3.0, (False, True)),
        ([2.0, 1.0, 1.01, 1.02, NAN], "min", 0.1, 0.3, (False, False)),
        ([NAN, 1.0, NAN, 1.0, NAN], "min", 0.1, 0.1, (False, False)),
        ([0.9, 0.1, 0.9, 0.9, NAN], "max", 0.3, 1.0, (False, False)),  # the widest of two bests
        ([-1.0, -2.0, -2.01, -1.0, 0.0], "min", 0.1, 0.3, (False, False)),
    ],
)
def test_by_hand(values, mode, low, high, cut):
    found = window(RATES, values, mode)
    assert (found.low, found.high) == (low, high)
    assert (found.cut_low, found.cut_high) == cut
    assert found.decades == pytest.approx(math.log10(high) - math.log10(low))


def test_where_everything_diverged_there_is_none():
    assert window(RATES, [NAN] * 5, "max") is None


@given(st.lists(st.floats(0.01, 1), min_size=5, max_size=5), st.sampled_from(["min", "max"]))
def test_a_window_holds_the_best_and_nothing_bad(values, mode):
    found = window(RATES, values, mode)
    best = max(values) if mode == "max" else min(values)
    inside = [v for rate, v in zip(RATES, values, strict=True) if found.low <= rate <= found.high]
    assert values[RATES.index(found.best)] == best
    limit = best * (0.99 if mode == "max" else 1.01)
    good = [v >= limit * (1 - 1e-12) if mode == "max" else v <= limit * (1 + 1e-12) for v in inside]
    assert all(good)


def test_windows_of_arms_and_seeds(plain_runs):
    for seed in range(4):
        for lr in RATES:
            worth = {0.3: 0.96, 0.1: 0.955 if seed else 0.8}.get(lr, 0.5)
            plain_runs.add(worth, seed, control="plain", settings={"optimizer.lr": lr})
            dice = 0.96 + seed / 1e4 if lr > 0.05 else 0.5
            plain_runs.add(dice, seed, settings={"optimizer.lr": lr})
    stress = plain_runs.stress()
    arms = [stress.sweep.arms[arm].control for arm in stress.windows["arm"]]
    plain = stress.windows[[arm == "plain" for arm in arms]].sort_values("seed")
    dice = stress.windows[[arm == "none" for arm in arms]]
    assert plain["decades"].tolist() == pytest.approx([0.0, *[math.log10(3)] * 3])
    assert dice["decades"].tolist() == pytest.approx([math.log10(30)] * 4)
    assert dice["cut_high"].all()
    assert not dice["cut_low"].any()
    (part,) = stress.tested
    (row,) = stress.results.compared[0, 1].values()
    assert part.words == ("wider", "narrower")
    assert row.difference == pytest.approx(math.log10(30) - 0.75 * math.log10(3))
    assert row.n == 4


def test_two_rates_are_no_window(plain_runs):
    for seed in range(2):
        for lr in RATES[:2]:
            plain_runs.add(0.9, seed, settings={"optimizer.lr": lr})
            plain_runs.add(0.9, seed, control="plain", settings={"optimizer.lr": lr})
            noisy = {"optimizer.lr": lr, "data.label_noise": 0.2}
            plain_runs.add(0.9, seed, settings=noisy)
    assert plain_runs.stress().windows.empty


def test_label_noise(plain_runs):
    for noise in (0.0, 0.2, 0.4):
        for seed in range(3):
            settings = {"data.label_noise": noise}
            common = {"seed": seed, "task": LOSS, "settings": settings}
            plain_runs.add(1.5 + noise + seed / 100, control="plain", **common)
            plain_runs.add(1.5 + noise / 2 + seed / 90, **common)
    stress = plain_runs.stress()
    assert [part.measure.metric.replace("\u00a0", " ") for part in stress.tested] == [
        f"loss with {noise} % wrong labels" for noise in (0, 20, 40)
    ]
    differences = [rows["plain"].difference for rows in stress.results.compared.values()]
    mean = (0 + 1 + 2) / 3 * (1 / 90 - 1 / 100)
    assert differences == pytest.approx([mean, -0.1 + mean, -0.2 + mean])


def test_runs_at_other_rates_are_no_label_noise(plain_runs):
    for seed in range(2):
        for lr, noise in ((0.3, 0.0), (0.3, 0.4), (0.1, 0.0), (1.0, 0.0)):
            settings = {"data.label_noise": noise, "optimizer.lr": lr}
            plain_runs.add(0.9, seed, control="plain", settings=settings)
            plain_runs.add(0.8 + seed / 100, seed, settings=settings)
    compared = plain_runs.stress().results.comparisons
    assert len(compared) == 3  # two shares of wrong labels, and one window
