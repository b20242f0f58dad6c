"""The words, and that what they advise would help."""

import re
from fractions import Fraction

import pytest

from lightning_dice.rules import (
    SCALINGS,
    SavingThrow,
    SettingError,
    advice,
    meaning,
)
from lightning_dice.rules.words import percent


@pytest.mark.parametrize(
    ("throw", "words"),
    [
        (
            SavingThrow("d20", 15),
            "expected step 0.035 of a full one; 65 % of steps go backwards, 5 % are discarded; "
            "as much signal as keeping 0.366 % of updates",
        ),
        (
            SavingThrow("d20", 10, "skip"),
            "expected step 0.412 of a full one; no step goes backwards, 45 % are discarded; "
            "as much signal as keeping 52.7 % of updates",
        ),
        (
            SavingThrow("d20", 10, normalize="mean"),
            "expected step a full one, normalized by mean; 40 % of steps go backwards, "
            "5 % are discarded; as much signal as keeping 29.8 % of updates",
        ),
        (
            SavingThrow("d20", 10, normalize="rms"),
            "expected step 0.546 of a full one, normalized by rms; 40 % of steps go backwards, "
            "5 % are discarded; as much signal as keeping 29.8 % of updates",
        ),
        (
            SavingThrow("d20", 20),
            "expected step -0.378 of a full one (backwards); 90 % of steps go backwards, "
            "5 % are discarded",
        ),
        (
            SavingThrow("d20", 16, normalize="rms"),
            "expected step -0.0652 of a full one (backwards), normalized by rms; "
            "70 % of steps go backwards, 5 % are discarded",
        ),
        (
            SavingThrow("d2", 1, [-1, 1]),
            "expected step 0: forwards and backwards cancel out; 50 % of steps go backwards",
        ),
        (
            SavingThrow("d2", 1, [-3, -1]),
            "expected step -2 times a full one (backwards); every step goes backwards",
        ),
        (
            SavingThrow("d2", 1, [2.5, 2.5]),
            "expected step 2.5 times a full one; no step goes backwards; no signal is lost",
        ),
        (
            SavingThrow("d2", 1, [0, 1]),
            "expected step 0.5 of a full one; no step goes backwards; "
            "as much signal as keeping 50 % of updates",
        ),
        (SavingThrow("d2", 1, [None, None]), "every update is discarded: nothing is learned"),
        (
            SavingThrow("d2", 1, [None, 0]),
            "every update is discarded or scaled to 0: nothing is learned",
        ),
    ],
    ids=str,
)
def test_meaning(throw, words):
    assert meaning(throw) == words


@pytest.mark.parametrize(
    ("throw", "words"),
    [
        (
            SavingThrow("d20", 15),
            "so little signal that training will hardly learn; "
            "lower the threshold to at most 14 or use scaling='skip'",
        ),
        (
            # Efficiency 0.45, all of it uphill.
            SavingThrow("d20", 20),
            "steps go backwards on average, so training will raise the loss; "
            "lower the threshold to at most 14 or use scaling='skip'",
        ),
        (
            SavingThrow("d100", 100, "skip"),
            "so little signal that training will hardly learn; lower the threshold to at most 98",
        ),
        (
            SavingThrow("7d2kl1", 1),
            "so little signal that training will hardly learn; use another die",
        ),
        (
            SavingThrow("d2", 1, [-1, 1]),
            "forward and backward steps cancel out, so training will not learn; "
            "give the table factors with a larger mean",
        ),
        (
            SavingThrow("d2", 1, [0, None]),
            "no update reaches the weights, so training will not learn; "
            "give the table factors with a larger mean",
        ),
    ],
    ids=str,
)
def test_advice(throw, words):
    assert advice(throw) == words


DICE = ["d2", "d3", "d6", "d20", "d30", "d12+5", "d12-5", "d20+30"]
DICE += ["2d20kh1", "2d20kl1", "3d10kh1-2", "6d6kl1"]


def learns(*settings):
    odds = SavingThrow(*settings).odds()
    return odds.mean > 0 and odds.mean**2 >= Fraction("0.02") * odds.mean_square


@pytest.mark.parametrize("scaling", SCALINGS)
@pytest.mark.parametrize("die", DICE)
def test_advice_is_the_best_there_is(die, scaling):
    """Against trying every threshold."""
    top = SavingThrow(die, 1).die.max_total
    good = [t for t in range(1, top + 1) if learns(die, t, scaling)]
    for threshold in range(1, top + 1):
        words = advice(SavingThrow(die, threshold, scaling))
        assert (words is None) == (threshold in good)
        if words is not None:
            lower = re.search(r"at most (\d+)", words)
            assert int(lower[1] if lower else 0) == max(
                (t for t in good if t < threshold), default=0
            )
            assert ("scaling='skip'" in words) == learns(die, threshold, "skip")


def test_two_percent_are_enough():
    assert advice(SavingThrow("d50", 2, [*[None] * 49, 1])) is None
    assert advice(SavingThrow("d51", 2, [*[None] * 50, 1])) is not None


def test_normalizing_does_not_hide_a_lack_of_signal():
    for normalize in ("mean", "rms"):
        assert advice(SavingThrow("d20", 15, normalize=normalize)) == advice(SavingThrow("d20", 15))
    with pytest.raises(SettingError):  # where there is no advice because there is no such throw
        SavingThrow("d20", 20, normalize="mean")


@pytest.mark.parametrize(
    ("share", "words"),
    [
        ("0", "0 %"),
        ("1", "100 %"),
        ("1/3", "33.3 %"),
        ("1/100000", "0.001 %"),
        ("1/100001", "under 0.001 %"),
        ("999/1000", "99.9 %"),
        ("99999/100000", "over 99.9 %"),
    ],
)
def test_percent_never_rounds_to_none_or_all(share, words):
    assert percent(Fraction(share)) == words
