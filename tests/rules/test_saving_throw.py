import copy
import pickle
from collections.abc import Mapping
from dataclasses import FrozenInstanceError, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_dice.rules import Die, Outcome, SavingThrow, SettingError
from lightning_dice.rules.saving_throw import check_throw

TABLE = [None, -0.5, 0.25, 1]
VALUES = [
    SavingThrow(),
    SavingThrow("2d20kh1+2", 15, "skip", "mean"),
    SavingThrow("d4", 2, TABLE, "rms"),
]


@settings(deadline=None)
@given(st.integers(2, 40), st.integers(-39, 40), st.data())
def test_criticals_are_read_off_the_natural_face(sides, modifier, data):
    top = sides + modifier
    if top < 1:
        with pytest.raises(SettingError, match=rf"totals at most {top}, and a threshold is at lea"):
            SavingThrow(Die(sides, modifier), 1)
        return
    throw = SavingThrow(Die(sides, modifier), data.draw(st.integers(1, top)))
    rolls = [throw.resolve(n) for n in throw.die.faces]
    assert [r.natural for r in rolls] == list(range(1, sides + 1))
    assert all(r.total == r.natural + modifier for r in rolls)
    assert [r.outcome for r in rolls[:1] + rolls[-1:]] == [
        Outcome.CRITICAL_FAILURE,
        Outcome.CRITICAL_SUCCESS,
    ]
    for roll in rolls[1:-1]:
        reached = roll.total >= throw.threshold
        assert roll.outcome is (Outcome.SUCCESS if reached else Outcome.FAILURE)


def test_discard_is_not_scale_zero():
    throw = SavingThrow("d4", 2, [None, 0, 0.5, 1])
    assert [throw.resolve(n).discard for n in throw.die.faces] == [True, False, False, False]


def test_takes_a_die_or_its_notation():
    assert SavingThrow(Die(6, 1), 3) == SavingThrow("d6+1", 3) == SavingThrow("D6+1", threshold=3)


@pytest.mark.parametrize("throw", VALUES, ids=str)
def test_a_value_copies_and_pickles_even_after_use(throw):
    throw.resolve(1), throw.odds()
    for twin in (copy.deepcopy(throw), copy.copy(throw), pickle.loads(pickle.dumps(throw))):
        assert twin == throw
        assert hash(twin) == hash(throw)
        assert twin.odds() == throw.odds()
    assert SavingThrow(**throw.settings()) == throw


def test_equal_by_value_and_by_nothing_else():
    assert len({*VALUES, *map(copy.deepcopy, VALUES)}) == 3
    assert SavingThrow("d4", 2, TABLE) == SavingThrow("d4", 2, tuple(map(float_or_none, TABLE)))
    assert SavingThrow() != SavingThrow(threshold=11)
    assert SavingThrow() != SavingThrow(scaling="skip")
    assert SavingThrow() != SavingThrow(normalize="mean")
    assert SavingThrow() != SavingThrow("d20+1")


def float_or_none(factor):
    return None if factor is None else float(factor)


@pytest.mark.parametrize("name", ["die", "threshold", "scaling", "normalize"])
def test_immutable(name):
    with pytest.raises(FrozenInstanceError):
        setattr(SavingThrow(), name, 3)


def test_a_table_is_kept_apart_from_the_callers_list():
    table = list(TABLE)
    throw = SavingThrow("d4", 2, table)
    table[2] = 99
    assert throw.resolve(3).scale == 0.25
    assert throw.settings()["scaling"] == TABLE


def test_in_words():
    assert str(VALUES[0]) == "d20, threshold 10, margin"
    assert str(VALUES[1]) == "2d20kh1+2, threshold 15, skip, normalized by mean"
    assert str(VALUES[2]) == "d4, threshold 2, own table, normalized by rms"


@pytest.mark.parametrize("threshold", ["abc", "10", 0, -1, 10.5, 10.0, True, None])
def test_thresholds_that_are_no_threshold(threshold):
    with pytest.raises(SettingError) as caught:
        SavingThrow("d20", threshold)
    assert str(caught.value) == f"threshold={threshold!r}: expected a whole number from 1 to 20"


@pytest.mark.parametrize(("die", "top"), [("d20", 20), ("d20+2", 22), ("d20-2", 18)])
def test_thresholds_up_to_the_largest_total(die, top):
    assert SavingThrow(die, top).threshold == top
    with pytest.raises(SettingError) as caught:
        SavingThrow(die, top + 1)
    assert str(caught.value) == (
        f"threshold={top + 1}: unreachable, as {die} totals at most {top}; "
        f"expected a whole number from 1 to {top}"
    )


@pytest.mark.parametrize("normalize", ["Mean", "max", "", None, True, 1, ["mean"]])
def test_unknown_normalize(normalize):
    with pytest.raises(SettingError) as caught:
        SavingThrow(normalize=normalize)
    assert str(caught.value) == f"normalize={normalize!r}: expected none, mean, rms"


@pytest.mark.parametrize(
    ("settings", "mean"),
    [
        (("d20", 16), "-3/80"),
        (("d2", 1, [-1, 1]), "0"),
        (("d2", 1, [None, None]), "0"),
    ],
)
def test_a_mean_that_is_not_above_zero_cannot_be_made_one(settings, mean):
    with pytest.raises(SettingError, match=rf"normalize='mean'.* expected scale {mean}, .*'skip'"):
        SavingThrow(*settings, normalize="mean")


@pytest.mark.parametrize("table", [[0, None], [None, None], [0, 0]])
def test_scales_that_are_all_zero_have_no_rms(table):
    with pytest.raises(SettingError, match="normalize='rms': every scale is 0"):
        SavingThrow("d2", 1, table, "rms")


@pytest.mark.parametrize("size", [5e-324, 1e-300, 1e-170, 1e150])
def test_rms_of_factors_whose_square_is_no_float(size):
    throw = SavingThrow("d4", 2, [None, size, -size, size], "rms")
    root = (4 / 3) ** 0.5
    assert [throw.resolve(n).scale for n in (2, 3)] == pytest.approx([root, -root])


@pytest.mark.parametrize(
    ("normalize", "die", "table"),
    [
        ("mean", "d4", [1e150, -1e150, 1e-300, 0]),  # its mean is 2.5e-301
        ("mean", "100d10000kl1", [0] * 9999 + [1]),  # its mean is 1e-400, which is no float
        ("rms", "100d10000kl1", [0] * 9999 + [1]),
    ],
)
def test_scales_that_a_divisor_would_make_too_large_are_refused(normalize, die, table):
    with pytest.raises(SettingError, match=f"normalize='{normalize}': would make the largest") as e:
        SavingThrow(die, 1, table, normalize)
    assert "1e+150" in e.value.remedy


@pytest.mark.parametrize("natural", [0, -1, 21, 10**5000, "7", 7.0, True, None, [7]], ids=range(9))
def test_what_is_no_face_of_the_die(natural):
    with pytest.raises(SettingError, match=r"^natural=.*: d20 shows 1 to 20$"):
        SavingThrow().resolve(natural)


@pytest.mark.parametrize("natural", [0, -1, 21])
def test_a_face_the_die_does_not_have(natural):
    with pytest.raises(SettingError, match=f"natural={natural}: d20 shows 1 to 20"):
        SavingThrow().resolve(natural)


def test_settings_by_name_are_a_saving_throw():
    assert check_throw({"die": "d6", "threshold": 3}) == SavingThrow("d6", 3)


class Unreadable(Mapping):
    def __getitem__(self, key):
        raise RuntimeError

    def __iter__(self):
        return iter(["die"])

    def __len__(self):
        return 1


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("d20", "throw='d20': expected a SavingThrow, such as"),
        (Unreadable(), "throw=<.*: expected a SavingThrow, such as"),
        ({7: 1}, "throw=7: is no name of a setting; expected die, threshold, scaling, normalize"),
        ({"dice": 1}, "throw.dice=1: expected die, threshold, scaling, normalize"),
        ({"die": None}, "die=None: expected dice notation"),
    ],
)
def test_what_is_no_saving_throw(given, words):
    with pytest.raises(SettingError, match=f"^{words}"):
        check_throw(given)


def test_vars_are_what_it_was_made_of():
    """Command lines that are built from annotations write down the ``vars`` of a default."""
    for throw in VALUES:
        throw.odds(), throw.resolve(2), throw.factors
        made = vars(throw)
        assert list(made) == ["die", "threshold", "scaling", "normalize"]
        assert SavingThrow(**{**made, "die": Die(**vars(throw.die))}) == throw


def test_it_is_a_dataclass_that_can_be_replaced():
    assert replace(SavingThrow("d6", 3), threshold=4) == SavingThrow("d6", 4)


def test_a_null_may_come_as_the_text_of_none():
    """jsonargparse hands one over like this where a list is the flag of a callback's argument."""
    assert SavingThrow("d4", 2, ["None", -0.5, 0.25, 1]) == SavingThrow("d4", 2, TABLE)
    with pytest.raises(SettingError, match=r"scaling\[2\]='null'"):
        SavingThrow("d4", 2, [None, "null", 0.25, 1])
