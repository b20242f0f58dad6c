"""What is said of the rows: differences, intervals and words, held against other people's sums."""

import csv
import math

import compare
import numpy as np
import pytest
import stages
import tables
from plan import read_lines
from scipy import stats
from statsmodels.stats.multitest import multipletests

GAINS = {"dropout-0.1": 0.01, "skipupdate": -0.02, "t5-skip-model-update-all": 0.03}
"""What arms are better than plain by, in loss."""
SEED = 7


def tuned(line):
    point = math.log2(line["lr"] / stages.GRIDS[line["base"]]) - 2
    bonus = GAINS.get(line["arm"], 0.0)
    return {"val_loss": 1 - bonus + 0.01 * point**2, "test_loss": None, "best_test_loss": None}


def row_of(line, rng, shared):
    common = {"diverged": False, "val_accuracy": None, "steps": 10, "best_step": 8}
    if line["seed"] >= stages.TUNING_SEED:
        return {**line, **common, "train_loss": 1.0, **tuned(line)}
    loss = 1 + shared[line["seed"]] - GAINS.get(line["arm"], 0.0) + 0.001 * rng.standard_normal()
    return {
        **line,
        **common,
        "train_loss": 0.9,
        "val_loss": loss,
        "test_loss": loss,
        "best_test_loss": loss - 0.005,
        "diverged": line["arm"] == "magma",
    }


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(SEED)
    shared = 0.1 * rng.standard_normal(10)
    made = []
    for stage in (stages.tuning, stages.confirming, stages.comparison):
        lines = stage("manual", "adamw", stages.Rows(made))
        made += [row_of(line, rng, shared) for line in lines]
    return stages.Rows(made)


@pytest.fixture(scope="module")
def compared(rows):
    return compare.comparisons("manual", "adamw", rows).set_index(["arm", "against"])


def ends(rows, arm, column="test_loss"):
    return np.array([r[column] for r in rows if r["arm"] == arm and r["seed"] < 50])


def test_differences_are_scipys(rows, compared):
    for arm, other in (("dropout-0.1", "plain"), ("t5-skip-model-update-all", "skipupdate")):
        row = compared.loc[arm, other]
        test = stats.ttest_rel(ends(rows, arm), ends(rows, other))
        low, high = test.confidence_interval()
        assert row["difference"] == pytest.approx((ends(rows, arm) - ends(rows, other)).mean())
        assert (row["low"], row["high"]) == pytest.approx((low, high))
        assert row["p"] == pytest.approx(test.pvalue)


def test_holm_is_over_everything_that_is_compared(compared):
    known = compared["p"].dropna()
    expected = multipletests(known, method="holm")[1]
    np.testing.assert_allclose(compared.loc[known.index, "p_holm"], expected)
    assert len(known) > 50


def test_words(compared):
    words = compared["word"]
    assert words["dropout-0.1", "plain"] == "better"
    assert words["skipupdate", "plain"] == "worse"
    assert words["t5-skip-model-update-all", "dropout-0.1"] == "better"
    assert words["plain-0.5", "plain"] == "cannot be told apart"
    assert words["magma", "plain"] == "worse", "it diverged"


def test_a_difference_that_two_seeds_make_is_no_word():
    metric = compare.TEXT
    row = {"pairs": 10, "p_holm": 0.01, "difference": -1.0, "seeds better": 7, "seeds worse": 3}
    assert compare._word(row, metric) == "cannot be told apart"
    assert compare._word({**row, "seeds better": 8}, metric) == "better"
    assert compare._word({**row, "p_holm": 0.05, "seeds better": 10}, metric) != "better"


def test_plain_stopped_early_is_where_its_validation_was_best(rows, compared):
    wide = compare.values("manual", "adamw", rows)
    np.testing.assert_allclose(wide[compare.STOPPED], ends(rows, "plain", "best_test_loss"))
    assert ("t5-skip-model-update-all", compare.STOPPED) in compared.index


def test_the_best_dice_and_the_standing_ones_have_controls(compared):
    for arm in ("t5-skip-model-update-all", stages.STANDING):
        against = set(compared.loc[arm].index)
        assert {f"{kind}:{arm}" for kind in ("gaussian", "deck", "rms")} <= against


def test_a_second_run_is_held_against_the_interval_of_the_first(rows, compared):
    """Ends that are the first ones again lie within; ends that are worse by 0.05 do not."""
    lines = stages.repetition("manual", "adamw", rows)
    first_rows = {(row["arm"], row["seed"]): row for row in rows if row["seed"] in stages.SEEDS}
    again = [{**first_rows[line["arm"], line["seed"] - 20], "seed": line["seed"]} for line in lines]
    for worse, within in ((0.0, True), (0.05, False)):
        moved = [
            row | {"test_loss": row["test_loss"] + worse * row["arm"].startswith("t")}
            for row in again
        ]
        table = compare.repetitions("manual", "adamw", stages.Rows([*rows, *moved]))
        table = table.set_index("arm")
        dice = table.loc["t5-skip-model-update-all"]
        first = compared.loc["t5-skip-model-update-all", "plain"]
        assert (dice["first"], dice["low"], dice["high"]) == tuple(
            first[["difference", "low", "high"]]
        )
        assert dice["second"] == pytest.approx(first["difference"] + worse)
        assert bool(dice["within"]) is within
        assert "plain" not in table.index
    assert compare.repetitions("manual", "adamw", rows).empty, "nothing has been run again"
    part = [row for row in again if row["arm"] in ("plain", "dropout-0.1")]
    table = compare.repetitions("manual", "adamw", stages.Rows([*rows, *part, again[-1]]))
    assert table["arm"].tolist() == ["dropout-0.1"], "what is not complete is left out"


def test_only_what_is_complete_is_in_the_tables(rows):
    assert tables.complete(rows) == [("manual", "adamw")]
    assert tables.complete(stages.Rows(list(rows)[:-1])) == []


def test_committed_tables_are_what_the_rows_come_to():
    rows = stages.Rows(read_lines(tables.RESULTS / "rows.jsonl"))
    made = tables.tables(rows)
    page = (tables.RESULTS.parent / "README.md").read_text(encoding="utf-8")
    assert tables.overview(made["arms"], made["comparisons"]) in page
    assert tables.words(made["verdicts"]) in page
    for name, table in made.items():
        with (tables.RESULTS / "tables" / f"{name}.csv").open(newline="") as file:
            written = list(csv.DictReader(file))
        assert len(written) == len(table)
        names = {"arms": "test", "repetitions": "second", "verdicts": "would show"}
        column = names.get(name, "difference")
        found = [float(row[column] or "nan") for row in written]
        np.testing.assert_allclose(found, table[column], rtol=1e-5)
        if name == "comparisons":
            assert [row["word"] for row in written] == table["word"].tolist()
