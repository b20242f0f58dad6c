"""Every number against a computation that goes another way than the code does."""

import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import special, stats

from lightning_dice.analysis.sweep.statistics import (
    BETTER,
    MIN_SEEDS,
    NO_TEST,
    OPEN,
    TOO_FEW,
    WORSE,
    detectable_effect,
    interval,
)
from lightning_dice.rules import SavingThrow

FINALS = [0.91, 0.94, 0.9, 0.97, 0.95]
PLAIN = [0.96, 0.97, 0.955, 0.96, 0.98]


def t_quantile(freedom, p=0.975):
    """By bisection on the incomplete beta function."""
    low, high = 0.0, 1e4
    for _ in range(200):
        t = (low + high) / 2
        below = 1 - special.betainc(freedom / 2, 0.5, freedom / (freedom + t * t)) / 2
        low, high = (t, high) if below < p else (low, t)
    return low


def by_hand(values):
    n = len(values)
    mean = math.fsum(values) / n
    sd = math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (n - 1))
    reach = t_quantile(n - 1) * sd / math.sqrt(n)
    return mean, sd, mean - reach, mean + reach


def holm_by_hand(p):
    order = sorted(range(len(p)), key=lambda i: p[i])
    corrected, so_far = [0.0] * len(p), 0.0
    for rank, i in enumerate(order):
        so_far = max(so_far, min(1.0, (len(p) - rank) * p[i]))
        corrected[i] = so_far
    return corrected


def arm_of(results, control):
    return next(
        row for row in results.summaries.values() if results.sweep.arms[row.arm].control == control
    )


def compared(results, control="plain"):
    (row,) = (rows[control] for rows in results.compared.values() if control in rows)
    return row


def test_an_arm_by_hand(sweep):
    sweep.arm(FINALS)
    row = arm_of(sweep.load(), "none")
    mean, sd, low, high = by_hand(FINALS)
    assert (row.n, row.diverged, row.min, row.max) == (5, 0, 0.9, 0.97)
    assert (row.mean, row.sd) == pytest.approx((mean, sd), rel=1e-12)
    assert (row.ci_low, row.ci_high) == pytest.approx((low, high), rel=1e-9)
    odds = SavingThrow("d20", 10).odds()
    assert row.mean_scale == pytest.approx(float(odds.mean))
    assert row.efficiency == pytest.approx(float(odds.efficiency))


def test_a_comparison_by_hand(sweep):
    sweep.arm(FINALS)
    sweep.arm(PLAIN, control="plain")
    row = compared(sweep.load())
    mean, sd, low, high = by_hand([a - b for a, b in zip(FINALS, PLAIN, strict=True)])
    assert (row.n, row.lost, row.wins, row.losses, row.ties) == (5, 0, 1, 4, 0)
    assert (row.difference, row.sd) == pytest.approx((mean, sd))
    assert (row.ci_low, row.ci_high) == pytest.approx((low, high))
    assert row.effect_size == pytest.approx(mean / sd)
    assert row.p == pytest.approx(stats.ttest_rel(FINALS, PLAIN).pvalue)
    t = abs(mean / sd) * math.sqrt(5)
    assert row.p == pytest.approx(special.betainc(2, 0.5, 4 / (4 + t * t)))
    assert row.p_holm == row.p  # a family of one
    assert row.detectable == pytest.approx(detectable_effect(5) * sd)


def test_pairs_are_by_seed_whatever_the_order(sweep):
    for seed in (4, 0, 3, 1, 2):
        sweep.add(FINALS[seed], seed)
    for seed in (2, 3, 0, 1, 4, 9):
        sweep.add(PLAIN[seed] if seed < 5 else 0.0, seed, control="plain")
    row = compared(sweep.load())
    assert row.n == 5
    assert row.p == pytest.approx(stats.ttest_rel(FINALS, PLAIN).pvalue)


def test_every_control_is_compared_with_the_dice_of_its_saving_throw(sweep):
    rng = np.random.default_rng(0)
    for threshold in (5, 10):
        for control in ("none", "plain_mean", "plain_rms", "gaussian", "deck"):
            throw = SavingThrow("d20", threshold)
            sweep.arm(rng.uniform(0.5, 0.9, 4), control=control, throw=throw)
    sweep.arm(rng.uniform(0.5, 0.9, 4), control="plain")
    sweep.arm(rng.uniform(0.5, 0.9, 4), control="deck", target="update")
    results = sweep.load()
    runs = results.sweep.runs
    assert len(results.comparisons) == results.family_size == 10
    for row in results.comparisons.to_dict("records"):
        dice, control = results.sweep.arms[row["arm"]], results.sweep.arms[row["control"]]
        assert control.control == "plain" or control.threshold == dice.threshold
        assert control.target in ("", "gradient")
        a, b = (
            runs[runs["arm"] == row[name]].sort_values("seed")["final"]
            for name in ("arm", "control")
        )
        assert row["difference"] == pytest.approx(a.mean() - b.mean())
        assert row["p"] == pytest.approx(stats.ttest_rel(a, b).pvalue)
    p = results.comparisons["p"].tolist()
    assert results.comparisons["p_holm"].tolist() == pytest.approx(holm_by_hand(p))


def test_holm_counts_the_comparisons_of_all_contexts(sweep):
    for optimizer in ("sgd", "adamw"):
        sweep.arm(FINALS, optimizer=optimizer)
        sweep.arm(PLAIN, control="plain", optimizer=optimizer)
    results = sweep.load()
    assert results.family_size == 2
    p = results.comparisons["p"].tolist()
    assert results.comparisons["p_holm"].tolist() == pytest.approx([2 * value for value in p])


@pytest.mark.parametrize("n", [2, 3, 5, 10, 30])
def test_the_detectable_effect_has_a_power_of_80_percent(n):
    effect, limit = detectable_effect(n), t_quantile(n - 1)
    shifted = effect * math.sqrt(n)
    power = stats.nct.sf(limit, n - 1, shifted) + stats.nct.cdf(-limit, n - 1, shifted)
    assert power == pytest.approx(0.8, abs=1e-3)


def test_the_detectable_effect_by_simulation():
    rng = np.random.default_rng(0)
    values = rng.standard_normal((20_000, 8)) + detectable_effect(8)
    t = values.mean(axis=1) / values.std(axis=1, ddof=1) * math.sqrt(8)
    assert np.mean(abs(t) > t_quantile(7)) == pytest.approx(0.8, abs=0.01)


class TestDegenerate:
    EMPTY = ("ci_low", "ci_high", "p", "p_holm", "effect_size", "detectable")

    def check(self, row, finding):
        assert row.finding == finding
        assert all(math.isnan(getattr(row, name)) for name in self.EMPTY)

    def test_one_pair(self, sweep):
        sweep.arm([0.9])
        sweep.arm([0.8], control="plain")
        row = compared(sweep.load())
        self.check(row, TOO_FEW)
        assert (row.n, row.wins) == (1, 1)
        assert row.difference == pytest.approx(0.1)

    def test_no_seed_in_common(self, sweep):
        sweep.arm([0.9, 0.8])
        sweep.add(0.8, 7, control="plain")
        row = compared(sweep.load())
        self.check(row, NO_TEST)
        assert row.n == 0

    def test_all_equal(self, sweep):
        sweep.arm(PLAIN)
        sweep.arm(PLAIN, control="plain")
        row = compared(sweep.load())
        self.check(row, OPEN)
        assert (row.n, row.ties, row.difference) == (5, 5, 0)

    def test_the_same_difference_in_every_seed(self, sweep):
        sweep.arm([value - 0.1 for value in PLAIN])  # equal up to rounding errors
        sweep.arm(PLAIN, control="plain")
        self.check(compared(sweep.load()), NO_TEST)

    def test_an_arm_of_one_value(self, sweep):
        sweep.arm([0.1, 0.1, 0.1])
        row = arm_of(sweep.load(), "none")
        assert (row.mean, row.sd) == pytest.approx((0.1, 0), abs=1e-15)
        assert math.isnan(row.ci_low)

    def test_pairs_without_a_value(self, sweep):
        sweep.arm([0.9, None, 0.8, math.nan])
        sweep.arm([0.8, 0.7, None, 0.6], control="plain")
        results = sweep.load()
        row = compared(results)
        assert (row.n, row.lost) == (1, 3)
        dice = arm_of(results, "none")
        assert (dice.n, dice.diverged) == (2, 2)
        assert dice.mean == pytest.approx(0.85)

    def test_an_arm_that_always_diverged(self, sweep):
        sweep.arm([None, None])
        sweep.arm([0.9, 0.91], control="plain")
        results = sweep.load()
        dice = arm_of(results, "none")
        assert (dice.n, dice.diverged, dice.learned) == (0, 2, False)
        assert math.isnan(dice.mean)
        assert compared(results).lost == 2

    def test_values_at_the_edge_of_floats(self, sweep):
        sweep.arm([1e308, -1e308, *[1e308] * MIN_SEEDS])
        sweep.arm([-1e308, 1e308, *[1.0] * MIN_SEEDS], control="plain")
        assert compared(sweep.load()).finding in (NO_TEST, OPEN)


def test_interval_is_nan_where_there_is_none():
    low, high = interval(
        np.array([0.0, 1, 4, 4]), np.array([np.nan, 1, 1, 1]), np.array([np.nan, np.nan, 0, 0.1])
    )
    assert np.isnan(low).tolist() == np.isnan(high).tolist() == [True, True, True, False]
    assert high[3] - 1 == pytest.approx(t_quantile(3) * 0.1 / math.sqrt(4), rel=1e-9)


class TestLearned:
    def learned(self, sweep, control="none"):
        return arm_of(sweep.load(), control).learned

    @pytest.mark.parametrize(("mean", "learned"), [(0.179, False), (0.181, True), (0.05, False)])
    def test_a_tenth_of_the_way_to_plain(self, sweep, mean, learned):
        sweep.arm([mean - 0.001, mean + 0.001])
        sweep.arm([0.89, 0.91], control="plain")  # from 0.1 to 0.9
        assert self.learned(sweep) is learned
        assert self.learned(sweep, "plain") is True

    @pytest.mark.parametrize(("loss", "learned"), [(3.81, False), (3.79, True)])
    def test_where_less_is_more(self, sweep, loss, learned):
        task = {"metric": "val_loss", "unit": "nats", "mode": "min"}
        sweep.arm([loss - 0.001, loss + 0.001], task=task, baseline=4.0)
        sweep.arm([1.9, 2.1], control="plain", task=task, baseline=4.0)
        assert self.learned(sweep) is learned

    @pytest.mark.parametrize(("low", "learned"), [(0.12, True), (0.08, False)])
    def test_without_plain_the_worse_end_has_to_beat_the_baseline(self, sweep, low, learned):
        _, _, ci_low, _ = by_hand([0.5, 0.51, 0.53, 0.52])
        sweep.arm([value - ci_low + low for value in (0.5, 0.51, 0.53, 0.52)])
        assert self.learned(sweep) is learned

    @pytest.mark.parametrize(
        ("finals", "learned"), [([0.2, 0.3], True), ([0.05, 0.09], False), ([0.05, 0.3], None)]
    )
    def test_without_plain_a_few_seeds_have_to_agree(self, sweep, finals, learned):
        sweep.arm(finals)
        assert self.learned(sweep) is learned

    def test_a_plain_that_did_not_learn_measures_nothing(self, sweep):
        sweep.arm([0.5, 0.51, 0.52, 0.49])
        sweep.arm([0.05, 0.06], control="plain")
        row = arm_of(sweep.load(), "none")
        assert row.learned is (row.ci_low > 0.1)
        assert self.learned(sweep, "plain") is False

    def test_values_that_are_all_the_same(self, sweep):
        sweep.arm([0.5, 0.5])
        assert self.learned(sweep) is True

    def test_one_seed_without_plain_says_nothing(self, sweep):
        sweep.arm([0.5])
        assert self.learned(sweep) is None

    def test_without_a_baseline_nothing_can_be_said(self, sweep):
        sweep.arm([0.5, 0.6])
        folder = sweep.path / "000" / "summary.json"
        for folder in sweep.path.iterdir():
            path = folder / "summary.json"
            path.write_text(
                path.read_text("utf-8").replace('"value": 0.1', '"value": null'), "utf-8"
            )
        assert self.learned(sweep) is None


FLOATS = st.lists(st.floats(0, 1, allow_subnormal=False), min_size=2, max_size=6)


@given(FLOATS, st.randoms())
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_the_mode_turns_wins_into_losses_and_nothing_else(new_folder, tmp_path_factory, a, random):
    b = [random.random() for _ in a]
    rows = []
    for mode in ("max", "min"):
        folder = new_folder(tmp_path_factory.mktemp("mode") / "sweep")
        task = {"metric": "m", "unit": "", "mode": mode}
        folder.arm(a, task=task)
        folder.arm(b, task=task, control="plain")
        rows.append(compared(folder.load()))
    more, less = rows
    assert (more.wins, more.losses, more.ties) == (less.losses, less.wins, less.ties)
    turned = {BETTER: WORSE, WORSE: BETTER}
    assert turned.get(more.finding, more.finding) == less.finding
    same = ("difference", "p", "p_holm", "ci_low", "ci_high", "detectable")
    assert [getattr(more, n) for n in same] == pytest.approx(
        [getattr(less, n) for n in same], nan_ok=True
    )


def test_a_clear_difference_has_its_word(sweep):
    sweep.arm([0.5, 0.51, 0.52, 0.505])
    sweep.arm([0.9, 0.92, 0.91, 0.9], control="plain")
    sweep.arm([0.2, 0.21, 0.2, 0.215], control="deck")
    results = sweep.load()
    assert compared(results).finding == WORSE
    assert compared(results, "deck").finding == BETTER
