import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from lightning_dice.analysis.tolerance.breakdown import withstood
from lightning_dice.rules import SavingThrow

GRID = (2, 5, 8)


@given(st.lists(st.sampled_from([True, False, None])))
def test_it_is_the_longest_start_that_survives(survived):
    count = withstood(survived)
    longest = max(n for n in range(len(survived) + 1) if all(survived[:n]))
    if longest < len(survived) and survived[longest] is None:
        assert count is None
    else:
        assert count == longest


def sweep_of(folder, survived, **more):
    """A run for each seed and threshold; ``None`` where there is none."""
    for seed, row in enumerate(survived):
        folder.add(0.9, seed, control="plain", **more)
        for threshold, there in zip(GRID, row, strict=True):
            if there is not None:
                throw = SavingThrow("d20", threshold)
                folder.add(0.9 if there else 0.5, seed, throw=throw, **more)


def test_thresholds_over_seeds_with_both_ends(folder, load):
    sweep_of(folder, [[1, 1, 0], [1, 0, 1], [0, 1, 1], [1, 1, 1]])
    (row,) = load(folder).breakdowns.to_dict("records")
    values = [5, 2, 1, 8]
    low, high = stats.t.interval(0.95, 3, np.mean(values), stats.sem(values))
    assert (row["mean"], row["n"], row["below"], row["beyond"]) == (4, 4, 1, 1)
    assert low < 1
    assert (row["ci_low"], row["ci_high"]) == (1, pytest.approx(high))
    odds = [SavingThrow("d20", threshold).odds() for threshold in (5, 2, 8)]
    # The seed that withstands nothing has the odds of plain training.
    assert row["inverse"] == pytest.approx(sum(float(one.inverse) for one in odds) / 4)
    assert row["discard"] == pytest.approx(sum(float(one.discard) for one in odds) / 4)
    assert row["mean_scale"] == pytest.approx((sum(float(one.mean) for one in odds) + 1) / 4)


def test_seeds_that_agree_have_no_interval(folder, load):
    sweep_of(folder, [[1, 1, 0]] * 3)
    (row,) = load(folder).breakdowns.to_dict("records")
    assert (row["mean"], row["agree"]) == (5, True)
    assert np.isnan(row["ci_low"])


def test_a_run_that_diverged_did_not_survive(folder, load):
    folder.arm([0.9, 0.9], control="plain")
    folder.arm([0.9, None], throw=SavingThrow("d20", 2))
    folder.arm([None, 0.9], throw=SavingThrow("d20", 5))
    study = load(folder)
    assert study.breakdowns["mean"].tolist() == [1.5]
    assert sorted(study.trials["kept"]) == [0, 0, 1, 1, 1, 1]


def test_a_missing_run_before_the_first_failure_is_named(folder, load):
    sweep_of(folder, [[1, 1, 0], [1, None, 0], [0, None, 1]])
    study = load(folder)
    (row,) = study.breakdowns.to_dict("records")
    assert (row["n"], row["mean"]) == (2, 3)
    assert [tuple(one) for one in study.sweep.left_out] == [
        ("SGD, seed 1", "lacks runs, so it has no area and no breakdown threshold", "at 5"),
        ("SGD, seed 2", "lacks runs, so it has no area", "at 5"),
    ]


def test_thresholds_go_from_mild_to_harsh_by_the_odds(folder, load):
    folder.arm([0.9], control="plain")
    for scaling, thresholds in (("margin", (14, 2, 8)), (([-1, 1] * 10), (3, 2))):
        for threshold in thresholds:
            folder.arm([0.9], throw=SavingThrow("d20", threshold, scaling))
    study = load(folder)
    for family in study.families:
        arms = [study.sweep.arms[arm] for arm in family.arms]
        assert [arm.threshold for arm in arms] == sorted(arm.threshold for arm in arms)
        means = study.sweep.runs.groupby("arm")["mean_scale"].first()[list(family.arms)]
        assert means.is_monotonic_decreasing


def test_normalized_dice_all_have_the_same_mean_and_go_by_the_threshold(folder, load):
    folder.arm([0.9], control="plain")
    for threshold in (8, 2, 5, 10):
        folder.arm([0.9], throw=SavingThrow("d20", threshold, normalize="mean"))
    study = load(folder)
    thresholds = [study.sweep.arms[arm].threshold for arm in study.families[0].arms]
    assert thresholds == [2, 5, 8, 10]


def test_one_threshold_is_no_sweep(folder, load):
    sweep_of(folder, [[1, 1, 0]])
    folder.arm([0.9], control="plain", optimizer="adamw")
    for threshold, target in ((2, "gradient"), (2, "update"), (5, "update")):
        throw = SavingThrow("d20", threshold)
        folder.arm([0.9], throw=throw, target=target, optimizer="adamw")
    study = load(folder)
    named = [one.reason for one in study.sweep.left_out]
    assert named == ["has one threshold only, so no area and no breakdown threshold"]
    found = study.breakdowns[["subject", "family"]].to_numpy().tolist()
    assert len(found) == 2


def test_a_seed_without_any_run_of_a_family_is_named(folder, load):
    sweep_of(folder, [[1, 1, 0]] * 2, target="update")
    sweep_of(folder, [[1, 1, 0]], target="gradient")
    left_out = load(folder).sweep.left_out
    named = [(one.path, one.detail) for one in left_out if not one.path.isdigit()]
    assert named == [("SGD, target gradient, seed 1", "at 2, 5, 8")]
