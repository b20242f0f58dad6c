import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_dice.analysis.tolerance.areas import area
from lightning_dice.rules import SavingThrow

KEPT = {2: 0.99, 8: 0.9, 14: 0.4, 18: 0.1}


@given(
    st.lists(
        st.tuples(st.integers(1, 20), st.floats(0, 1.5)), min_size=1, unique_by=lambda one: one[0]
    ),
    st.floats(0.1, 1),
    st.randoms(),
)
def test_it_is_the_mean_height_of_the_curve(points, part, random):
    random.shuffle(points)
    dose, kept = np.array(points).T
    dose = dose / 20
    end = part * dose.max()
    order = np.argsort(dose)
    at, height = np.append(0, dose[order]), np.append(1, kept[order])
    grid = np.unique(np.concatenate([np.linspace(0, end, 20001), at[at < end]]))
    between = (grid[1:] + grid[:-1]) / 2
    expected = np.sum(np.interp(between, at, height) * np.diff(grid)) / end
    assert area(dose, kept, end) == pytest.approx(expected, abs=1e-6)


def test_arms_with_the_same_dose_are_one_and_plain_is_among_them():
    # At 0 plain and one arm: 0.9; at 0.5 two arms: 0.3.
    found = area(np.array([0.0, 0.5, 0.5]), np.array([0.8, 0.2, 0.4]), 0.5)
    assert found == pytest.approx((0.9 + 0.3) / 2)


def test_nothing_lost_and_nothing_left():
    dose = np.array([0.1, 0.5, 0.9])
    assert area(dose, np.ones(3), 0.9) == pytest.approx(1)
    assert area(dose, np.zeros(3), 0.9) == pytest.approx(0.05 / 0.9)
    assert area(dose, np.full(3, 1.1), 0.9) > 1


def fill(folder, seeds=3, thresholds=KEPT, **more):
    for seed in range(seeds):
        plain = 0.8 + seed / 100
        folder.add(plain, seed, control="plain", **more)
        for threshold in thresholds:
            throw = SavingThrow("d20", threshold)
            folder.add(plain * KEPT[threshold], seed, throw=throw, **more)


def by_hand(thresholds):
    doses = [float(SavingThrow("d20", t).odds().inverse) for t in thresholds]
    assert doses[0] == 0
    x, y = [0, *doses[1:]], [(1 + KEPT[2]) / 2, *(KEPT[threshold] for threshold in thresholds[1:])]
    pieces = [(x[i + 1] - x[i]) * (y[i + 1] + y[i]) / 2 for i in range(len(x) - 1)]
    return sum(pieces) / x[-1]


def test_areas_of_a_sweep(folder, load):
    fill(folder)
    (row,) = load(folder).areas.to_dict("records")
    assert (row["n"], row["mean"]) == (3, pytest.approx(by_hand([2, 8, 14, 18])))


def test_they_end_where_all_optimizers_have_an_arm(folder, load):
    fill(folder)
    fill(folder, thresholds=(2, 8, 14), optimizer="adamw")
    areas = load(folder).areas
    assert areas["mean"].tolist() == pytest.approx([by_hand([2, 8, 14])] * 2)


def test_a_seed_that_lacks_an_arm_has_none(folder, load):
    fill(folder)
    folder.add(0.9, 3, control="plain")
    folder.add(0.9, 3, throw=SavingThrow("d20", 2))
    study = load(folder)
    assert study.areas["n"].tolist() == [3]
    assert ("SGD, seed 3", "at 8, 14, 18") in [
        (one.path, one.detail) for one in study.sweep.left_out
    ]


def test_dice_that_never_invert_go_by_what_they_discard(folder, load):
    folder.add(0.8, control="plain")
    for threshold in (5, 15):
        throw = SavingThrow("d20", threshold, "skip")
        folder.add(0.8 * (1 - threshold / 20), throw=throw)
    study = load(folder)
    assert study.families[0].dose == "discard"
    doses = [float(SavingThrow("d20", t, "skip").odds().discard) for t in (5, 15)]
    first = doses[0] * (1 + 0.75) / 2
    second = (doses[1] - doses[0]) * (0.75 + 0.25) / 2
    assert study.areas["mean"].tolist() == [pytest.approx((first + second) / doses[1])]


def test_dice_without_odds_or_without_harm_are_named(folder, load):
    folder.add(0.8, control="plain")
    for threshold in (5, 15):
        folder.add(0.8, throw=SavingThrow("d20", threshold), control="none", odds=None)
        folder.add(0.8, throw=SavingThrow("d2", 1 + threshold // 15, [1, 0.5]))
    for path in folder.path.iterdir():
        text = (path / "summary.json").read_text("utf-8")
        if '"odds": null' in text:
            text = text.replace('"mean_square"', '"forgotten"')
            (path / "summary.json").write_text(text, encoding="utf-8")
    study = load(folder)
    assert len(study.areas) == 0
    assert len(study.breakdowns) == 2
    assert {one.path: one.reason for one in study.sweep.left_out} == {
        "d2, own table": "reverses or discards no share above 0 that all have, so it has no area",
        "d20, margin": "has runs whose odds are not on record, so it has no area",
    }


def test_the_smaller_step_alone_is_beside_it(folder, load):
    fill(folder)
    for seed in range(3):
        for threshold, kept in ((2, 1.0), (8, 0.95)):  # at 14 and 18 there is none
            throw = SavingThrow("d20", threshold)
            folder.add((0.8 + seed / 100) * kept, seed, throw=throw, control="plain_mean")
    (row,) = load(folder).areas.to_dict("records")
    assert row["kept_dice"] == pytest.approx((KEPT[2] + KEPT[8]) / 2)
    assert row["kept_same_step"] == pytest.approx((1 + 0.95) / 2)
