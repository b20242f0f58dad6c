from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from lightning_dice.analysis.sweep.statistics import BETTER, NO_TEST, OPEN, TOO_FEW, WORSE
from lightning_dice.analysis.tolerance.ranking import compare_pairs, rank, rank_range


def table(areas):
    """Rows of ``areas[subject][family][seed]``."""
    return pd.DataFrame(
        [
            (subject, family, seed, value)
            for subject, families in areas.items()
            for family, seeds in families.items()
            for seed, value in seeds.items()
        ],
        columns=["subject", "family", "seed", "area"],
    )


def holm(values):
    """Holm's step-down, by the book."""
    order, corrected, largest = np.argsort(values), np.empty(len(values)), 0.0
    for step, place in enumerate(order):
        largest = max(largest, (len(values) - step) * values[place])
        corrected[place] = min(largest, 1)
    return corrected


def test_pairs_are_paired_tests_with_holms_correction():
    random = np.random.default_rng(1)
    luck = random.normal(0, 0.1, 6)
    scores = {s: luck + random.normal(s / 50, 0.01, 6) for s in range(4)}
    pairs = compare_pairs(scores)
    tests = [stats.ttest_rel(scores[a], scores[b]) for a, b in combinations(range(4), 2)]
    assert pairs["p"].tolist() == pytest.approx([test.pvalue for test in tests])
    assert pairs["p_holm"].tolist() == pytest.approx(holm(pairs["p"].to_numpy()).tolist())
    lows = [test.confidence_interval().low for test in tests]
    assert pairs["ci_low"].tolist() == pytest.approx(lows)
    assert set(pairs["finding"]) <= {WORSE, OPEN}
    assert WORSE in set(pairs["finding"])


@given(st.lists(st.sampled_from([BETTER, WORSE, OPEN, NO_TEST]), min_size=6, max_size=6))
def test_a_rank_reaches_as_far_as_others_are_confirmed(findings):
    pairs = pd.DataFrame(combinations(range(4), 2), columns=["first", "second"])
    pairs = pairs.assign(finding=findings)
    beats = {(a, b) for a, b, f in pairs.itertuples(index=False) if f == BETTER}
    beats |= {(b, a) for a, b, f in pairs.itertuples(index=False) if f == WORSE}
    for subject in range(4):
        above = sum((other, subject) in beats for other in range(4))
        below = sum((subject, other) in beats for other in range(4))
        assert rank_range(subject, 4, pairs) == (1 + above, 4 - below)


def test_scores_are_means_over_shared_families_and_seeds():
    areas = {
        0: {0: {**dict.fromkeys(range(1, 5), 0.8), 5: 0.1}, 1: dict.fromkeys(range(1, 5), 0.8)},
        1: {
            0: {1: 0.5, 2: 0.3, 3: 0.4, 4: 0.4},
            1: {1: 0.5, 2: 0.5, 3: 0.5, 4: 0.5, 5: 0.0},
            2: dict.fromkeys(range(1, 5), 0.9),
        },
    }
    ranking = rank(table(areas))
    assert ranking.families == (0, 1)
    rows = ranking.table[["subject", "n", "mean"]].to_numpy().tolist()
    assert rows == [[0, 4, pytest.approx(0.8)], [1, 4, pytest.approx(0.45)]]
    low, high = stats.t.interval(0.95, 3, 0.45, stats.sem([0.5, 0.4, 0.45, 0.45]))
    sure = ranking.table[["ci_low", "ci_high"]].to_numpy()[1]
    assert sure.tolist() == pytest.approx([low, high])


def test_who_is_far_apart_is_ranked_and_who_is_not_is_tied():
    noise = [0.0, 0.01, -0.01, 0.02, -0.02]
    shifted = [0.01, -0.02, 0.02, 0.0, -0.01]
    areas = {
        0: {0: {seed: 0.3 + e for seed, e in enumerate(noise)}},
        1: {0: {seed: 0.9 + e for seed, e in enumerate(shifted)}},
        2: {0: {seed: 0.9 - e for seed, e in enumerate(shifted)}},
    }
    found = rank(table(areas)).table.set_index("subject")[["best_rank", "worst_rank"]]
    assert {s: tuple(row) for s, row in found.iterrows()} == {0: (3, 3), 1: (1, 2), 2: (1, 2)}


@pytest.mark.parametrize("seeds", [1, 2, 3])
def test_a_few_seeds_rank_nothing(seeds):
    far = {s: {0: {seed: 0.9 - 0.8 * s + seed / 1e4 for seed in range(seeds)}} for s in (0, 1)}
    far[0][0][0] += 1e-6  # so that the differences have a spread, and p would be tiny
    ranking = rank(table(far))
    assert ranking.pairs["finding"].tolist() == [TOO_FEW]
    assert ranking.pairs["p"].isna().all()
    assert ranking.table[["best_rank", "worst_rank"]].to_numpy().tolist() == [[1, 2], [1, 2]]


def test_scores_of_float32_that_differ_by_rounding_are_tied():
    exact = {seed: 0.7 + seed / 37 for seed in range(5)}
    rounded = {seed: float(np.float32(value)) for seed, value in exact.items()}
    pairs = rank(table({0: {0: exact}, 1: {0: rounded}})).pairs
    assert (pairs["difference"][0], pairs["finding"][0]) == (0, NO_TEST)


def test_the_same_difference_in_every_seed_cannot_be_tested():
    areas = {s: {0: {seed: 0.5 + s / 10 + seed / 100 for seed in range(4)}} for s in (0, 1)}
    assert rank(table(areas)).pairs["finding"].tolist() == [NO_TEST]


@pytest.mark.parametrize(
    "areas", [{}, {0: {0: {1: 0.5}}, 1: {0: {2: 0.5}}}, {0: {0: {1: 0.5}}, 1: {1: {1: 0.5}}}]
)
def test_nothing_in_common_is_no_ranking(areas):
    ranking = rank(table(areas))
    assert (len(ranking.table), len(ranking.pairs), ranking.families) == (0, 0, ())
