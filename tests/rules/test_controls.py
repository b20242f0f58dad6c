"""Controls keep what they claim to keep of a saving throw, and take away the rest."""

from fractions import Fraction
from math import sqrt

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.stats import kstest

from lightning_dice.rules import CONTROLS, Arm, Outcome, SavingThrow, SettingError, control_arm

THROWS = st.builds(
    SavingThrow,
    st.sampled_from(["d4", "d20", "2d20kh1", "d6+1", "d100"]),
    st.integers(1, 4),
    st.sampled_from(["margin", "proportional", "skip"]),
    st.sampled_from(["none", "rms"]),
)


def moments(throw):
    """E[s] and E[s^2] by hand, face by face."""
    pairs = [(throw.resolve(n).scale or 0.0, float(throw.die.chance(n))) for n in throw.die.faces]
    return sum(s * p for s, p in pairs), sum(s * s * p for s, p in pairs)


def test_the_names_are_those_of_the_config_group():
    assert CONTROLS == ("none", "plain", "plain_mean", "plain_rms", "gaussian", "deck")


@given(THROWS)
def test_none_is_the_saving_throw_itself(throw):
    assert control_arm("none", throw) == Arm(throw, "independent", 1.0)


@given(THROWS)
def test_a_deck_changes_how_faces_come_up_and_nothing_else(throw):
    assert control_arm("deck", throw) == Arm(throw, "deck", 1.0)


@pytest.mark.parametrize("name", ["plain", "plain_mean", "plain_rms"])
@given(THROWS)
def test_a_plain_arm_applies_every_update_in_full(name, throw):
    assume(moments(throw)[0] > 0)
    rolled = control_arm(name, throw).throw
    assert dict(rolled.odds().scales) == {Fraction(1): 1}


@given(THROWS)
def test_learning_rates_are_those_of_the_mean_and_of_the_root_mean_square(throw):
    mean, square = moments(throw)
    assume(mean > 0)
    assert control_arm("plain", throw).lr_factor == 1
    assert control_arm("plain_mean", throw).lr_factor == pytest.approx(mean)
    assert control_arm("plain_rms", throw).lr_factor == pytest.approx(sqrt(square))


@given(THROWS)
def test_a_gaussian_has_the_two_moments(throw):
    rolled = control_arm("gaussian", throw).throw
    assert moments(rolled) == pytest.approx(moments(throw), rel=1e-12, abs=1e-12)


@given(THROWS)
def test_a_success_of_the_gaussian_goes_forwards(throw):
    rolled = control_arm("gaussian", throw).throw
    for natural in rolled.die.faces:
        roll = rolled.resolve(natural)
        if roll.outcome is Outcome.SUCCESS:
            assert roll.scale > 0
        if roll.outcome is Outcome.FAILURE:
            assert roll.scale <= 0


def test_the_gaussian_has_the_shape_of_one():
    rolled = control_arm("gaussian", SavingThrow("d20", 10)).throw
    scales = np.array([rolled.resolve(n).scale for n in rolled.die.faces])
    mean, square = moments(SavingThrow("d20", 10))
    distance = kstest(scales, "norm", (mean, sqrt(square - mean**2))).statistic
    assert distance < 0.005  # half a face is 0.0025


@pytest.mark.parametrize(("control", "threshold"), [("plain_mean", 16), ("plain_mean", 20)])
def test_a_learning_rate_that_would_climb_is_refused(control, threshold):
    with pytest.raises(SettingError, match=r"control='plain_mean': d20, .* expected scale -"):
        control_arm(control, SavingThrow("d20", threshold))


def test_a_learning_rate_of_nothing_is_refused():
    nothing = SavingThrow("d2", 1, [None, 0])
    with pytest.raises(SettingError, match="root-mean-square scale 0, and a learning rate"):
        control_arm("plain_rms", nothing)
    assert moments(control_arm("gaussian", nothing).throw) == (0, 0)


def test_an_unknown_control_is_refused():
    with pytest.raises(SettingError, match="control='placebo': expected none, plain, plain_mean"):
        control_arm("placebo", SavingThrow())
