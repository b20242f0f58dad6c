"""The named scalings against the rule as the design words it, and the bounds it promises."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_dice.rules import SCALINGS, Die, Outcome, SavingThrow, SettingError
from lightning_dice.rules.scaling import Throw


def by_the_book(scaling, natural, modifier, threshold, sides):
    """The rule, written once more: criticals by the face, the rest by the total."""
    total = natural + modifier
    success = min(Fraction(total, sides), Fraction(1))
    if scaling == "reference":
        if natural in (1, sides):
            return Fraction(-1 if natural == 1 else 1)
        return Fraction(total - threshold, 100) if total >= threshold else Fraction(0)
    if natural == 1:
        return None
    if natural == sides:
        return Fraction(1)
    if total >= threshold:
        return success
    return {
        "margin": max(Fraction(total - threshold, sides), Fraction(-1)),
        "proportional": -min(max(Fraction(total, sides), Fraction(0)), Fraction(1)),
        "skip": None,
    }[scaling]


@st.composite
def throws(draw, scalings=tuple(SCALINGS)):
    sides = draw(st.integers(2, 40))
    modifier = draw(st.integers(1 - sides, 30))
    threshold = draw(st.integers(1, sides + modifier))
    return SavingThrow(Die(sides, modifier), threshold, draw(st.sampled_from(scalings)))


def scales(throw, outcome):
    rolls = map(throw.resolve, throw.die.faces)
    return [roll.scale for roll in rolls if roll.outcome is outcome]


@settings(deadline=None)
@given(throws())
def test_every_face_gives_what_the_rule_says(throw):
    expected = [
        by_the_book(throw.scaling, n, throw.die.modifier, throw.threshold, throw.die.sides)
        for n in throw.die.faces
    ]
    assert [throw.resolve(n).scale for n in throw.die.faces] == [
        None if scale is None else float(scale) for scale in expected
    ]


@settings(deadline=None)
@given(throws(["margin", "proportional", "skip"]))
def test_bounds(throw):
    assert scales(throw, Outcome.CRITICAL_FAILURE) == [None]
    assert scales(throw, Outcome.CRITICAL_SUCCESS) == [1.0]
    assert all(0 < s <= 1 for s in scales(throw, Outcome.SUCCESS))
    failures = scales(throw, Outcome.FAILURE)
    if throw.scaling == "margin":
        assert all(-1 <= s < 0 for s in failures)
        assert failures == sorted(failures)  # the worse the roll, the stronger the inverse
    elif throw.scaling == "proportional":
        assert all(-1 <= s <= 0 for s in failures)
    else:
        assert set(failures) <= {None}


@pytest.mark.parametrize(("total", "scale"), [(-30, -1), (-10, -1), (-9, -0.95), (9, -0.05)])
def test_margin_stops_at_minus_one(total, scale):
    # No saving throw falls short by more than its die has sides; the rule says it all the same.
    assert SCALINGS["margin"](Throw(2, total, Outcome.FAILURE, 10, 20)) == Fraction(str(scale))


@pytest.mark.parametrize(
    ("die", "threshold", "scaling", "scale"),
    [
        ("d20+30", 50, "proportional", -1),  # a total of 32 on 20 sides
        ("d20+30", 1, "skip", 1),
        ("d20-19", 1, "proportional", 0),  # a total of -17 is no step forwards
        ("d20-19", 1, "margin", -0.9),
    ],
)
def test_modifiers_do_not_take_a_scale_past_its_bound(die, threshold, scaling, scale):
    assert SavingThrow(die, threshold, scaling).resolve(2).scale == scale


@pytest.mark.parametrize(("natural", "scale"), [(1, -1), (9, 0), (10, 0), (15, 0.05), (20, 1)])
def test_reference_is_what_the_public_code_does(natural, scale):
    assert SavingThrow("d20", 10, "reference").resolve(natural).scale == scale


def test_a_table_is_by_natural_face_whatever_the_modifier():
    throw = SavingThrow("d4+3", 5, [None, -0.5, 2, np.float32(0.5)])
    assert [throw.resolve(n).scale for n in range(1, 5)] == [None, -0.5, 2.0, 0.5]
    assert [throw.resolve(n).outcome for n in range(1, 5)] == [
        Outcome.CRITICAL_FAILURE,
        Outcome.SUCCESS,
        Outcome.SUCCESS,
        Outcome.CRITICAL_SUCCESS,
    ]


@given(st.lists(st.none() | st.floats(-1e6, 1e6), min_size=4, max_size=4))
def test_a_table_gives_back_its_own_floats(table):
    throw = SavingThrow("d4", 2, table)
    assert [throw.resolve(n).scale for n in range(1, 5)] == table


def test_a_decimal_factor_means_that_decimal():
    # 0.1 + 0.2 - 0.3 is 2.8e-17 in binary: as a mean it would make scales of 10^16.
    odds = SavingThrow("d4", 2, [0.1, 0.2, -0.3, None]).odds()
    assert odds.mean == 0
    assert list(odds.scales) == [None, Fraction(-3, 10), Fraction(1, 10), Fraction(1, 5)]
    with pytest.raises(SettingError, match=r"normalize='mean'.*expected scale 0"):
        SavingThrow("d4", 2, [0.1, 0.2, -0.3, None], "mean")


@pytest.mark.parametrize("scaling", ["Margin", "marginal", "", None, 3, {1: 0.5}, (s for s in "")])
def test_unknown_scalings_are_refused(scaling):
    with pytest.raises(SettingError) as caught:
        SavingThrow("d4", 2, scaling)
    assert caught.value.setting == "scaling"
    assert repr(scaling) in str(caught.value)
    assert "margin, proportional, skip, reference or a list of 4 factors" in str(caught.value)


@pytest.mark.parametrize("table", [[], [1], [1] * 3, [1] * 5, (None,) * 20])
def test_tables_of_the_wrong_length_are_refused(table):
    with pytest.raises(SettingError, match=rf"4 of them, and this one has {len(table)}$") as caught:
        SavingThrow("d4", 2, table)
    assert caught.value.setting == "scaling"


@pytest.mark.parametrize(
    "factor",
    [float("nan"), float("inf"), -float("inf"), "1", "none", True, 1j, [1], 10**400],
    ids=lambda factor: str(factor)[:9],
)
def test_factors_that_are_no_finite_number_are_refused_by_face(factor):
    with pytest.raises(SettingError) as caught:
        SavingThrow("d4", 2, [1, 1, factor, 1])
    assert caught.value.setting == "scaling[3]"
    assert str(caught.value).startswith(f"scaling[3]={factor!r}: expected a finite number, or None")
