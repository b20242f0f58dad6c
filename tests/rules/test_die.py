"""Dice against brute force: every ordered outcome of every die, counted."""

from collections import Counter
from fractions import Fraction
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_dice.rules import Die, SettingError

KEEP = {"highest": max, "lowest": min, None: min}


@st.composite
def dice(draw):
    count = draw(st.integers(1, 100))
    return Die(
        draw(st.integers(2, 10**4)),
        draw(st.integers(-(10**9) + 1, 10**9 - 1)),
        count,
        draw(st.sampled_from(["highest", "lowest"])) if count > 1 else None,
    )


@given(dice())
def test_notation_round_trips(die):
    assert Die.parse(str(die)) == die
    assert Die.parse(f"  {str(die).upper()} ") == die
    assert Die.parse(die) is die


@pytest.mark.parametrize(
    ("notation", "die"),
    [
        ("d20", Die(20)),
        ("1d20", Die(20)),
        ("D6+1", Die(6, 1)),
        ("d20-2", Die(20, -2)),
        ("d20+0", Die(20)),
        ("2d20kh1", Die(20, 0, 2, "highest")),
        ("2d20kh", Die(20, 0, 2, "highest")),
        ("3d8kl1-1", Die(8, -1, 3, "lowest")),
        ("100d10000kh1", Die(10**4, 0, 100, "highest")),
    ],
)
def test_notation(notation, die):
    assert Die.parse(notation) == die


@pytest.mark.parametrize(
    "die",
    [
        Die(2),
        Die(20),
        Die(20).advantage(),
        Die(20).disadvantage(),
        Die(6, 3, 4, "highest"),
        Die(5, -1, 5, "lowest"),
    ],
    ids=str,
)
def test_chance_is_the_share_of_all_ordered_throws(die):
    counted = Counter(KEEP[die.keep](faces) for faces in product(die.faces, repeat=die.count))
    ways = die.sides**die.count
    assert {n: die.chance(n) for n in die.faces} == {
        n: Fraction(counted[n], ways) for n in range(1, die.sides + 1)
    }


@given(st.integers(2, 60), st.integers(2, 6))
def test_chances_sum_to_one_and_lowest_mirrors_highest(sides, count):
    high, low = Die(sides, 0, count, "highest"), Die(sides, 0, count, "lowest")
    assert sum(high.chance(n) for n in high.faces) == 1
    assert [high.chance(n) for n in high.faces] == [low.chance(n) for n in reversed(low.faces)]


def test_advantage_keeps_the_modifier():
    assert str(Die(20, 2).advantage()) == "2d20kh1+2"
    assert str(Die(20, -2).disadvantage()) == "2d20kl1-2"
    assert Die(20, -2).max_total == 18


@pytest.mark.parametrize(
    "notation",
    [
        *["d1", "dX", "-3", "2d20", "d20kh1", "0d6", "", 5, None, True, "d20++1", "d0", "d1000001"],
        *["101d6kh1", "2d20kh2", "d20.5", "20", "d", "d-6", "d20 + 2", "1d20kl1", ["d20"]],
    ],
)
def test_what_is_not_a_die_is_refused_by_name(notation):
    with pytest.raises(SettingError) as caught:
        Die.parse(notation)
    assert caught.value.setting == "die"
    # The value is shown as it was given, but for the redundant count of "1d20kl1".
    assert str(notation).removeprefix("1d") in str(caught.value)
    assert any(word in caught.value.remedy for word in ("d20", "2 to 10000", "1 to 100", "kh1"))


@pytest.mark.parametrize(
    ("values", "setting"),
    [
        ({"sides": "20"}, "die.sides"),
        ({"sides": 20.0}, "die.sides"),
        ({"sides": True}, "die.sides"),
        ({"sides": 20, "modifier": None}, "die.modifier"),
        ({"sides": 20, "count": 1.5}, "die.count"),
        ({"sides": 20, "count": 0}, "die"),
        ({"sides": 20, "count": 2, "keep": "both"}, "die.keep"),
        ({"sides": 20, "count": 2}, "die"),
        ({"sides": 20, "keep": "highest"}, "die"),
    ],
)
def test_constructor_refuses_by_name(values, setting):
    with pytest.raises(SettingError) as caught:
        Die(**values)
    assert caught.value.setting == setting


@pytest.mark.parametrize("natural", [0, 21, -1])
def test_a_face_the_die_does_not_have(natural):
    with pytest.raises(SettingError, match=rf"natural={natural}: 2d20kh1 shows 1 to 20"):
        Die(20).advantage().chance(natural)
