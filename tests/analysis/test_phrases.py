import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_dice.analysis.phrases import (
    MINUS,
    NBSP,
    counted,
    duration,
    figures,
    listed,
    percent,
    plural,
    spoken,
    whole,
)

SUPERSCRIPTS = str.maketrans(
    "\u207b\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079", "-0123456789"
)


def read(text):
    """The number that ``figures`` wrote."""
    text = text.replace(MINUS, "-").replace(NBSP, "")
    mantissa, _, power = text.partition("\N{MULTIPLICATION SIGN}10")
    return float(mantissa) * 10.0 ** int(power.translate(SUPERSCRIPTS) or 0)


@given(
    value=st.floats(-1e30, 1e30).filter(lambda x: x == 0 or abs(x) > 1e-30),
    digits=st.integers(1, 6),
)
def test_figures_say_the_number_to_their_digits(value, digits):
    assert read(figures(value, digits)) == pytest.approx(value, rel=0.51 * 10 ** (1 - digits))


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (0.3225, 3, "0.323"),
        (-0.5, 2, f"{MINUS}0.50"),
        (0, 3, "0"),
        (99.96, 3, "100"),
        (1234.4, 3, "1234"),
        (-12345.6, 3, f"{MINUS}12{NBSP}346"),
        (1.7e-5, 2, f"1.7{NBSP}\N{MULTIPLICATION SIGN}{NBSP}10\u207b\u2075"),
        (2.5e12, 2, f"2.5{NBSP}\N{MULTIPLICATION SIGN}{NBSP}10\u00b9\u00b2"),
        (math.nan, 3, "NaN"),
        (math.inf, 3, "infinity"),
        (-math.inf, 3, f"{MINUS}infinity"),
    ],
)
def test_figures_examples(value, digits, text):
    assert figures(value, digits) == text


@given(share=st.floats(0, 1, exclude_min=True, exclude_max=True))
def test_a_share_that_is_not_all_or_nothing_never_reads_so(share):
    text = percent(share).replace(NBSP, " ")
    assert text not in ("0 %", "0.0 %", "100 %", "100.0 %")
    if not text.startswith(("under", "over")):
        assert float(text.removesuffix(" %")) == pytest.approx(100 * share, abs=0.0501)


def test_a_share_that_is_all_or_nothing_says_so():
    assert percent(0) == f"0{NBSP}%"
    assert percent(1.0) == f"100{NBSP}%"


@given(n=st.integers(-(10**9), 10**9))
def test_whole_numbers_keep_every_digit(n):
    assert int(whole(n).replace(NBSP, "")) == n


def test_groups_of_three_start_at_five_digits():
    assert whole(9999) == "9999"
    assert whole(10_000) == f"10{NBSP}000"


@pytest.mark.parametrize(
    ("noun", "many"),
    [
        ("update", "updates"),
        ("mini-batch", "mini-batches"),
        ("critical success", "critical successes"),
        ("failure", "failures"),
    ],
)
def test_nouns_agree_with_their_number(noun, many):
    assert plural(noun) == many
    assert counted(1, noun) == f"1 {noun}"
    assert counted(0, noun) == f"0 {many}"
    assert counted(2, noun) == f"2 {many}"


def test_lists_read_as_a_sentence():
    assert listed([]) == ""
    assert listed(["a"]) == "a"
    assert listed(["a", "b"]) == "a and b"
    assert listed(["a", "b", "c"]) == "a, b and c"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.42, "0.42 s"),
        (59.4, "59 s"),
        (59.99, "1 min 0 s"),
        (60, "1 min 0 s"),
        (3599.9, "1 h 0 min"),
        (3600, "1 h 0 min"),
        (90_000, "25 h 0 min"),
    ],
)
def test_durations(seconds, text):
    assert duration(seconds) == text


def test_metrics_are_spoken_in_full():
    assert spoken("val_loss") == "validation loss"
    assert spoken("train_loss_epoch") == "training loss epoch"
    assert spoken("f1") == "f1"
