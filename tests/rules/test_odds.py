"""Odds against the design's table and against counting every throw."""

from collections import Counter
from fractions import Fraction
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_dice.rules import SCALINGS, Die, Outcome, SavingThrow, SettingError

# threshold, scaling, E[s], E[s^2], efficiency: as printed, so to half a unit of the last digit.
PUBLISHED = [
    (15, "margin", "7/200", ".334", ".0037"),
    (15, "proportional", "1/400", ".359", "1.7e-5"),
    (15, "skip", ".2625", ".232", ".297"),
    (10, "margin", "129/400", ".349", ".298"),
    (10, "proportional", "121/400", ".359", ".255"),
    (10, "skip", ".4125", ".323", ".527"),
    (5, "margin", "97/200", ".357", ".659"),
    (5, "proportional", "191/400", ".359", ".636"),
]


def printed(number):
    """The range that a printed decimal stands for."""
    digits = number.partition("e")[0].partition(".")[2]
    unit = Fraction(1, 10 ** len(digits)) * Fraction(f"1e{number.partition('e')[2] or 0}")
    return Fraction(number) - unit / 2, Fraction(number) + unit / 2


@pytest.mark.parametrize(("threshold", "scaling", "mean", "mean_square", "efficiency"), PUBLISHED)
def test_published_values(threshold, scaling, mean, mean_square, efficiency):
    odds = SavingThrow("d20", threshold, scaling).odds()
    assert odds.mean == Fraction(mean)
    for exact, rounded in ((odds.mean_square, mean_square), (odds.efficiency, efficiency)):
        low, high = printed(rounded)
        assert low <= exact <= high


@st.composite
def throws(draw):
    count = draw(st.integers(1, 3))
    keep = draw(st.sampled_from(["highest", "lowest"])) if count > 1 else None
    die = Die(draw(st.integers(2, 8)), draw(st.integers(-1, 3)), count, keep)
    factors = st.none() | st.integers(-300, 300).map(lambda n: n / 100)
    tables = st.lists(factors, min_size=die.sides, max_size=die.sides)
    return SavingThrow(
        die,
        draw(st.integers(1, die.max_total)),
        draw(st.sampled_from(sorted(SCALINGS)) | tables),
    )


@settings(deadline=None)
@given(throws())
def test_counting_every_ordered_throw_gives_the_same(throw):
    die, odds = throw.die, throw.odds()
    pick = min if die.keep == "lowest" else max
    rolls = [throw.resolve(pick(faces)) for faces in product(die.faces, repeat=die.count)]
    share = Fraction(1, len(rolls))
    exact = [Fraction(str(roll.scale or 0)).limit_denominator(1000) for roll in rolls]

    assert odds.probability == {
        o: share * sum(roll.outcome is o for roll in rolls) for o in Outcome
    }
    assert {None if s is None else float(s): p for s, p in odds.scales.items()} == {
        scale: share * n for scale, n in Counter(roll.scale for roll in rolls).items()
    }
    assert odds.mean == share * sum(exact)
    assert odds.mean_square == share * sum(s**2 for s in exact)
    assert odds.discard == share * sum(roll.discard for roll in rolls)
    assert odds.inverse == share * sum((roll.scale or 0) < 0 for roll in rolls)
    assert odds.forward == share * sum((roll.scale or 0) > 0 for roll in rolls)


@settings(deadline=None)
@given(throws())
def test_shape(throw):
    odds = throw.odds()
    assert list(odds.probability) == list(Outcome)
    assert sum(odds.probability.values()) == sum(odds.scales.values()) == 1
    assert 0 <= odds.efficiency <= 1
    ascending = [s for s in odds.scales if s is not None]
    assert ascending == sorted(ascending)
    assert None not in list(odds.scales)[1:]


@settings(deadline=None)
@given(throws(), st.booleans())
def test_normalizing_moves_the_size_and_not_the_signal(throw, by_mean):
    plain = throw.odds()
    kind = "mean" if by_mean else "rms"
    arguments = (throw.die, throw.threshold, throw.scaling, kind)
    if plain.mean <= 0 if by_mean else plain.mean_square == 0:
        with pytest.raises(SettingError, match=f"normalize='{kind}'"):
            SavingThrow(*arguments)
        return
    odds = SavingThrow(*arguments).odds()
    if by_mean:
        assert odds.mean == 1
    else:
        assert abs(odds.mean_square - 1) < Fraction(1, 10**15)
    assert odds.efficiency == plain.efficiency
    assert odds.probability == plain.probability
    assert (odds.discard, odds.inverse, odds.forward) == (
        plain.discard,
        plain.inverse,
        plain.forward,
    )


def test_efficiency_of_keeping_with_chance_p_is_p():
    assert SavingThrow("d4", 2, [None, None, None, 1]).odds().efficiency == Fraction(1, 4)
    assert SavingThrow("d4", 2, [0.7] * 4).odds().efficiency == 1
    assert SavingThrow("d4", 2, [None] * 4).odds().efficiency == 0


def test_odds_cannot_be_changed():
    odds = SavingThrow().odds()
    with pytest.raises(TypeError):
        odds.probability[Outcome.FAILURE] = Fraction(0)
    with pytest.raises(TypeError):
        odds.scales[None] = Fraction(0)
    assert SavingThrow().odds() == odds
