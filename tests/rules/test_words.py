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
            "expected scale 0.035; 65 % of rolls reverse, 5 % discard; "
            "as much signal as keeping 0.366 % and discarding the rest",
        ),
        (
            SavingThrow("d20", 10, "skip"),
            "expected scale 0.412; no roll reverses, 45 % discard; "
            "as much signal as keeping 52.7 % and discarding the rest",
        ),
        (
            SavingThrow("d20", 10, normalize="mean"),
            "expected scale 1, normalized by mean; 40 % of rolls reverse, 5 % discard; "
            "as much signal as keeping 29.8 % and discarding the rest",
        ),
        (
            SavingThrow("d20", 10, normalize="rms"),
            "expected scale 0.546, normalized by rms; 40 % of rolls reverse, 5 % discard; "
            "as much signal as keeping 29.8 % and discarding the rest",
        ),
        (
            SavingThrow("d20", 20),
            "expected scale -0.378; 90 % of rolls reverse, 5 % discard",
        ),
        (
            SavingThrow("d20", 16, normalize="rms"),
            "expected scale -0.0652, normalized by rms; 70 % of rolls reverse, 5 % discard",
        ),
        (
            SavingThrow("d2", 1, [-1, 1]),
            "expected scale 0, as scales above and below 0 cancel out; 50 % of rolls reverse",
        ),
        (SavingThrow("d2", 1, [-3, -1]), "expected scale -2; every roll reverses"),
        (
            SavingThrow("d2", 1, [2.5, 2.5]),
            "expected scale 2.5; no roll reverses; no signal is lost",
        ),
        (
            SavingThrow("d2", 1, [0, 1]),
            "expected scale 0.5; no roll reverses; "
            "as much signal as keeping 50 % and discarding the rest",
        ),
        (SavingThrow("d2", 1, [None, None]), "every roll discards: nothing is learned"),
        (
            SavingThrow("d2", 1, [None, 0]),
            "every roll discards or has scale 0: nothing is learned",
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
            "an expected scale below 0 pushes against training, which will raise the loss; "
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
            "an expected scale of 0 leaves no signal, so training will not learn; "
            "give the table factors with a larger mean",
        ),
        (
            SavingThrow("d2", 1, [0, None]),
            "no roll lets anything through, so training will not learn; "
            "give the table factors with a larger mean",
        ),
    ],
    ids=str,
)
def test_advice(throw, words):
    assert advice(throw) == words


@pytest.mark.parametrize("scaling", [*SCALINGS, [*[-0.5] * 10, *[1] * 10], [None] * 20])
@pytest.mark.parametrize("threshold", [1, 5, 10, 15, 20])
def test_words_are_of_rolls_and_hold_whatever_is_scaled(threshold, scaling):
    """Both are printed before a gradient is scaled, which need not turn any step round."""
    throw = SavingThrow("d20", threshold, scaling)
    text = f"{meaning(throw)}; {advice(throw) or ''}"
    assert not re.search(r"backward|forward|invers|invert|\bstep|update|gradient", text)


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
