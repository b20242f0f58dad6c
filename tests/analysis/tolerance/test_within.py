import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_dice.analysis.sweep.measure import Measure
from lightning_dice.analysis.tolerance.within import WITHIN, Within, kept
from lightning_dice.rules import SavingThrow, SettingError

ACCURACY = Measure("val_accuracy", "share right", "max")
LOSS = Measure("val_loss", "nats", "min")


@pytest.mark.parametrize(
    ("text", "amount", "relative"),
    [
        (WITHIN, 0.05, True),
        ("5 %", 0.05, True),
        (" 12.5% ", 0.125, True),
        ("0%", 0.0, True),
        ("0.02", 0.02, False),
        (".5", 0.5, False),
        ("1e-3", 0.001, False),
        ("100", 100.0, False),
    ],
)
def test_margins_that_can_be_read(text, amount, relative):
    assert Within.parse(text) == (pytest.approx(amount), relative)


@pytest.mark.parametrize(
    "text", ["", "%", "five", "-1%", "-0.1", "100%", "nan", "inf", "5%%", "1e999", "5% of it"]
)
def test_margins_that_cannot(text):
    with pytest.raises(SettingError, match="expected a share of what plain training reaches") as no:
        Within.parse(text)
    assert (no.value.setting, no.value.value) == ("within", text)


def test_margins_in_words():
    texts = [Within.parse(text).spoken(LOSS) for text in ("5%", "0.02")]
    assert [text.replace("\xa0", " ") for text in texts] == ["5 %", "0.02 nats"]


positive = st.floats(0.01, 100)


@given(st.lists(st.tuples(st.one_of(positive, st.just(math.nan)), positive), min_size=1))
def test_kept_is_a_ratio_the_right_way_round(pairs):
    value, plain = np.array(pairs).T
    for measure in (ACCURACY, LOSS):
        for (one, held), share in zip(pairs, kept(value, plain, measure), strict=True):
            expected = one / held if measure.mode == "max" else held / one
            assert share == pytest.approx(0 if math.isnan(one) else expected)


def test_nothing_keeps_less_than_nothing():
    assert kept(np.array([-1.0, 0.0]), np.array([0.5, 0.5]), ACCURACY).tolist() == [0, 0]


@given(st.lists(st.tuples(positive, positive), min_size=1), st.floats(0, 0.99))
def test_an_absolute_margin_is_a_difference(pairs, amount):
    value, plain = np.array(pairs).T
    for measure, sign in ((ACCURACY, 1), (LOSS, -1)):
        survives = Within(amount, relative=False).survives(value, plain, measure)
        for (one, held), there in zip(pairs, survives, strict=True):
            worse = sign * (held - one)
            if abs(worse - amount) > 1e-9:
                assert there == (worse < amount)


@pytest.mark.parametrize(
    ("text", "measure", "at_the_margin", "beyond"),
    [
        ("5%", ACCURACY, 0.76, 0.7599),
        ("5%", LOSS, 0.8 / 0.95, 0.843),
        ("0.1", ACCURACY, 0.7, 0.6999),
        ("0.1", LOSS, 0.9, 0.9001),
    ],
)
def test_the_margin_itself_survives(text, measure, at_the_margin, beyond):
    values, plain = np.array([at_the_margin, beyond, np.nan]), np.full(3, 0.8)
    assert Within.parse(text).survives(values, plain, measure).tolist() == [True, False, False]


def two_thresholds(folder, plain, dice, task):
    folder.arm(plain, control="plain", task=task)
    for threshold in (5, 10):
        folder.arm(dice, throw=SavingThrow("d20", threshold), task=task)


@pytest.mark.parametrize(
    ("mode", "plain", "dice"), [("max", [0.0, 1.0], [1.0, 1.0]), ("min", [1.0, 2.0], [-1.0, 1.0])]
)
def test_a_metric_without_shares_has_breakdown_thresholds_only(
    folder, load, page_text, mode, plain, dice
):
    from lightning_dice.analysis.tolerance.report import write_study

    task = {"metric": "val_score", "unit": "points", "mode": mode}
    two_thresholds(folder, plain, dice, task)
    with pytest.raises(SettingError, match="within='5%': val_score is not above 0 in every run"):
        load(folder)
    study = load(folder, "0.5")
    assert study.breakdowns[["n", "mean", "beyond"]].to_numpy().tolist() == [[2, 10, 2]]
    assert not study.has_shares
    assert (len(study.areas), len(study.ranking.table)) == (0, 0)
    text = page_text(write_study(study)).text
    assert "val_score is not above 0 in every run, so shares of what plain reaches" in text
    assert "within 0.5 points of plain: SGD 10 or more." in text


def test_where_more_is_better_only_plain_must_be_above_0(folder, load):
    two_thresholds(folder, [0.5, 0.5], [-1.0, 0.25], {"metric": "r2", "unit": "", "mode": "max"})
    trials = load(folder).trials
    assert sorted(trials["kept"]) == [0, 0, 0.5, 0.5, 1, 1]
