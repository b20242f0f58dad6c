import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from lightning_dice.analysis.binomial import binomial_interval


@given(n=st.integers(1, 5000), p=st.floats(1e-4, 1 - 1e-4))
def test_it_holds_the_promised_share_and_is_no_wider_than_it_must_be(n, p):
    low, high = binomial_interval(n, p)
    law = stats.binom(n, p)
    assert 0 <= low <= n * p + 1
    assert n * p - 1 <= high <= n
    assert law.cdf(high) - law.cdf(low - 1) >= 0.95 - 1e-9
    # Each end is the first count at which its tail is reached.
    assert law.cdf(low - 1) < 0.025 + 1e-9
    assert law.cdf(high - 1) < 0.975 + 1e-9


@pytest.mark.parametrize("p", [1e-5, 0.05, 0.4, 0.5, 0.95])
@pytest.mark.parametrize("n", [1, 7, 600, 100_000, 10_000_000])
def test_it_agrees_with_scipy_up_to_the_largest_runs(n, p):
    law = stats.binom(n, p)
    assert binomial_interval(n, p) == (law.ppf(0.025), law.ppf(0.975))


@pytest.mark.parametrize("level", [0.5, 0.8, 0.99])
def test_other_levels(level):
    law = stats.binom(600, 0.4)
    expected = law.ppf((1 - level) / 2), law.ppf((1 + level) / 2)
    assert binomial_interval(600, 0.4, level) == expected


@pytest.mark.parametrize(("n", "p", "count"), [(0, 0.3, 0), (600, 0.0, 0), (600, 1.0, 600)])
def test_what_is_certain_has_no_width(n, p, count):
    assert binomial_interval(n, p) == (count, count)
