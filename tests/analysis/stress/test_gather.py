import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from lightning_dice.analysis.stress import Stress
from lightning_dice.analysis.sweep.find import LeftOut
from lightning_dice.analysis.sweep.gather import Sweep
from lightning_dice.rules import SettingError
from support.sweeps import LOSS

PLAIN = np.array([0.90, 0.91, 0.93, 0.92])
DICE = np.array([0.93, 0.93, 0.96, 0.94])
ROLLED = 1
"""The position of the arm of dice; plain comes first."""
FLAT = np.array([0.5, 0.7, 0.6, 0.55])
ACCURACIES = {  # what the made-up records take off: the mean over two kinds and three strengths
    "accuracy under corruption": -0.7 / 3,
    "accuracy under weight noise": -0.7 / 6,
    "accuracy after rounding to int8": -0.01,
}


@pytest.fixture
def pairs(measured):
    for seed, (plain, dice, flat) in enumerate(zip(PLAIN, DICE, FLAT, strict=True)):
        measured.add(plain, seed, control="plain")
        measured.add(dice, seed, flat=flat)
    return measured


def test_measures_are_what_the_records_say(pairs):
    stress = pairs.load()
    found = {
        part.measure.metric: part.runs.loc[part.runs["arm"] == ROLLED, "final"].tolist()
        for part in stress.tested
    }
    assert {name: found[name] for name in ACCURACIES} == {
        name: pytest.approx((DICE + taken).tolist()) for name, taken in ACCURACIES.items()
    }
    assert found["calibration error"] == pytest.approx(((1 - DICE) / 2).tolist())
    assert found["SAM sharpness"] == pytest.approx((FLAT * 0.05**1.5).tolist())  # the middle one
    assert found["adaptive sharpness"] == pytest.approx((FLAT * 0.5**1.5).tolist())
    assert found["largest Hessian eigenvalue"] == pytest.approx((20 * FLAT).tolist())
    assert found["trace of the Hessian"] == pytest.approx((100 * FLAT).tolist())
    assert len(found) == 8


def test_comparisons_are_paired_and_corrected_over_all_of_them(pairs):
    stress = pairs.load()
    table = stress.results.comparisons
    exact = stats.ttest_rel(DICE, PLAIN).pvalue
    sharp = stats.ttest_1samp(FLAT, 1.0).pvalue
    assert table["p"].tolist() == pytest.approx([exact] * 4 + [sharp] * 4)
    assert table["difference"][0] == pytest.approx((DICE - PLAIN).mean())
    holm = multipletests(table["p"], method="holm")[1]
    assert table["p_holm"].tolist() == pytest.approx(holm.tolist())


def test_a_run_that_lacks_a_strength_has_no_mean(pairs):
    import json

    path = pairs.path / "000" / "stress.json"  # plain, seed 0
    record = json.loads(path.read_text())
    gone = [row for row in record["measures"] if row["probe"] == "corruption"][-2]
    assert gone["metric"] == "accuracy"
    record["measures"].remove(gone)
    path.write_text(json.dumps(record))
    stress = pairs.load()
    corruption, noise = (stress.results.compared[part, ROLLED]["plain"] for part in (0, 1))
    assert (corruption.n, corruption.lost) == (3, 1)
    assert (noise.n, noise.lost) == (4, 0)


def test_text_is_judged_by_its_loss(measured):
    for seed in range(2):
        measured.add(1.5 + seed / 10, seed, task=LOSS)
    first = measured.load().tested[0]
    assert first.measure.metric == "loss under corruption"
    assert first.measure.unit == "nats/byte"
    assert first.runs["final"].tolist() == pytest.approx([1.5 + 0.7 / 3, 1.6 + 0.7 / 3])


def test_points_are_means_of_arms(pairs):
    points = pairs.load().points
    chosen = (
        (points["kind"] == "noise") & (points["metric"] == "accuracy") & (points["arm"] == ROLLED)
    )
    mine = points[chosen].sort_values("strength")
    assert mine["strength"].tolist() == [0.1, 0.2, 0.4]
    assert mine["mean"].tolist() == pytest.approx((DICE.mean() - mine["strength"]).tolist())
    low, high = stats.t.interval(0.95, 3, loc=DICE.mean() - 0.1, scale=stats.sem(DICE))
    assert (mine["ci_low"].iloc[0], mine["ci_high"].iloc[0]) == pytest.approx((low, high))


def test_runs_without_a_record_are_left_out(pairs):
    (pairs.path / "000" / "stress.json").unlink()
    stress = pairs.load()
    assert [one.path for one in stress.sweep.left_out] == ["000"]
    assert stress.results.compared[0, ROLLED]["plain"].n == 3


def test_nothing_to_show(sweep_without_records):
    sweep = Sweep.load([sweep_without_records.path])
    with pytest.raises(SettingError, match="no run below it can be measured \\(000: diverged\\)"):
        Stress.of(sweep, {}, [LeftOut("000", "cannot be measured", "diverged")])
    with pytest.raises(SettingError, match="nothing was measured"):
        Stress.of(sweep, {})


@pytest.fixture
def sweep_without_records(plain_runs):
    plain_runs.arm([0.9, 0.91])
    return plain_runs
