"""The committed tables of the threshold sweep are those of its runs, computed another way."""

import importlib.util
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

STUDY = Path(__file__).parents[2] / "experiments" / "threshold_sweep"
TABLES = STUDY / "results" / "tables"
ARM = ["optimizer", "control", "threshold", "target"]


def table(name):
    return pd.read_csv(TABLES / f"{name}.csv")


@pytest.fixture(scope="module")
def finals():
    """The final metric by optimizer, control, threshold, target and seed."""
    runs = table("runs").fillna({"threshold": 0, "target": ""})
    return {
        (row.optimizer, row.control, int(row.threshold), row.target, row.seed): row.final
        for row in runs.itertuples()
    }


def of(finals, optimizer, control, threshold, target):
    return np.array([finals[optimizer, control, threshold, target, seed] for seed in range(10)])


def test_every_arm_has_ten_seeds():
    arms = table("arms")
    assert (arms["n"] == 10).all()
    thresholds = 19
    controls = {
        "dice": 2 * thresholds,
        "plain": 1,
        "plain_mean": 14,
        "plain_rms": thresholds,
        "gaussian": 2 * thresholds,
        "deck": 2 * thresholds,
    }
    assert arms.groupby("control").size().to_dict() == {k: 2 * v for k, v in controls.items()}
    assert len(table("runs")) == 10 * 2 * sum(controls.values())
    assert set(table("left_out")["reason"]) == {"refused: settings that cannot be used"}
    assert len(table("left_out")) == 2 * 5 * 10, "the same mean step, from threshold 16 on"


def test_means_and_intervals(finals):
    for row in table("arms").fillna({"threshold": 0, "target": ""}).itertuples():
        values = of(finals, row.optimizer, row.control, int(row.threshold), row.target)
        assert row.mean == pytest.approx(sum(values) / 10)
        assert row.sd == pytest.approx(np.sqrt(((values - values.mean()) ** 2).sum() / 9))
        reach = stats.t.ppf(0.975, 9) * row.sd / np.sqrt(10)
        assert (row.ci_low, row.ci_high) == pytest.approx((row.mean - reach, row.mean + reach))


def test_differences_and_corrected_p_values(finals):
    rows = table("comparisons")
    p = []
    for row in rows.itertuples():
        threshold, target = int(row.threshold), row.target
        dice = of(finals, row.optimizer, "dice", threshold, target)
        whose = {"plain": (0, ""), "plain_mean": (threshold, ""), "plain_rms": (threshold, "")}
        where = whose.get(row.against, (threshold, target))
        control = of(finals, row.optimizer, row.against, *where)
        test = stats.ttest_rel(dice, control)
        low, high = test.confidence_interval()
        assert row.difference == pytest.approx((dice - control).mean(), abs=1e-12)
        assert (row.ci_low, row.ci_high) == pytest.approx((low, high))
        assert row.p == pytest.approx(test.pvalue)
        assert (row.wins, row.losses) == ((dice > control).sum(), (dice < control).sum())
        p.append(test.pvalue)
    order = np.argsort(p)
    stepped = [min(1, (len(p) - rank) * p[place]) for rank, place in enumerate(order)]
    corrected = np.empty(len(p))
    corrected[order] = np.maximum.accumulate(stepped)
    assert rows["p_holm"].to_numpy() == pytest.approx(corrected)


def test_findings_follow_from_the_numbers():
    for row in table("comparisons").itertuples():
        excludes = row.ci_low > 0 or row.ci_high < 0
        if not excludes:
            assert row.finding == "cannot be told apart"
        elif row.p_holm >= 0.05:
            assert row.finding == "not confirmed"
        else:
            assert row.finding == ("better" if row.difference > 0 else "worse")


def test_the_pages_have_the_plots():
    for name in ("thresholds", "learning"):
        assert (STUDY / "results" / "plots" / f"{name}.png").is_file()
    text = (STUDY / "README.md").read_text(encoding="utf-8")
    assert "results/plots/thresholds.png" in text


NAMES = {
    "dice": "dice",
    "same mean step": "plain_mean",
    "same root-mean-square step": "plain_rms",
    "Gaussian": "gaussian",
    "deck": "deck",
}


def test_the_method_card_says_what_the_tables_say():
    text = (STUDY / "README.md").read_text(encoding="utf-8")
    arms = table("arms").fillna({"threshold": 0, "target": ""}).set_index(ARM)["mean"]
    rows = [line.split("|")[1:-1] for line in text.splitlines() if line.startswith("| ")]
    head, *rows = [[cell.strip() for cell in row] for row in rows if len(row) == 11]
    assert len(rows) == 16
    for arm, target, *cells in rows:
        optimizer, control = arm.split(", ")
        for threshold, cell in zip(head[2:], cells, strict=True):
            key = f"{optimizer.lower()}_digits", NAMES[control], float(threshold), target
            assert cell == (f"{100 * arms[key]:.1f}" if key in arms else "")
    against_plain = table("comparisons").query("against == 'plain'")["finding"].value_counts()
    assert against_plain.to_dict() == {"worse": 28, "not confirmed": 23, "cannot be told apart": 25}
    assert "Of 76 arms 28\n  were worse, 23 may be worse" in text
    assert f"over all {len(table('comparisons'))} comparisons" in text


def test_a_repetition_that_differs_is_noticed():
    spec = importlib.util.spec_from_file_location("check", STUDY / "check.py")
    check = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(check)
    committed = table("arms")
    assert check.compare(committed, committed)["within"].all()
    other = committed.copy()
    other.loc[other["control"] == "plain", "mean"] -= 0.02
    outside = check.compare(other, committed).query("not within")
    assert outside["control"].unique().tolist() == ["plain"]
