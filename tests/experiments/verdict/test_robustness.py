"""Arms under stress: what is read of their runs, and what is said of the differences."""

import numpy as np
import pandas as pd
import pytest
import robustness
from click.testing import CliRunner
from scipy import stats
from statsmodels.stats.multitest import multipletests

from support.stress import Measured

NOISE = np.random.default_rng(1).normal(0, 0.01, 5)


@pytest.fixture
def folders(tmp_path):
    """Three arms of five runs, as good as they are named, at learning rates of their own."""
    arms = {"plain": 0.8, "dice": 0.82, "decay": 0.9}
    for place, (name, worth) in enumerate(arms.items()):
        folder = Measured(tmp_path / name)
        for seed in range(5):
            folder.add(worth + (place + 1) * NOISE[seed], seed, control="plain")
    return {name: tmp_path / name for name in arms}


def test_measures_are_read_and_paired_by_seed(folders, tmp_path):
    call = [f"{name}={folder}" for name, folder in folders.items()]
    done = CliRunner().invoke(
        robustness.main, [*call, "--out", str(tmp_path), "--name", "all"], catch_exceptions=False
    )
    assert done.exit_code == 0, done.output
    table = pd.read_csv(tmp_path / "all.csv")
    assert len(table) == 8 * 3
    own = table.set_index(["measure", "arm", "against"])
    row = own.loc["accuracy under corruption", "decay", "plain"]
    assert row["difference"] == pytest.approx(0.1 + 2 * NOISE.mean(), rel=1e-4)
    low, high = stats.ttest_1samp(0.1 + 2 * NOISE, 0).confidence_interval()
    assert (row["low"], row["high"]) == pytest.approx((low, high), rel=1e-4)
    assert (row["seeds better"], row["seeds worse"]) == (5, 0)
    calibration = own.loc["calibration error", "decay", "plain"]
    assert calibration["difference"] < 0
    assert calibration["seeds better"] == 5, "less is better"
    known = table["p"].dropna()
    expected = multipletests(known, method="holm")[1]
    np.testing.assert_allclose(table.loc[known.index, "p_holm"], expected, rtol=1e-4)


@pytest.mark.parametrize("name", ["scarce_images", "scarce_text", "many_passes"])
def test_committed_tables_are_what_the_values_come_to(name):
    made = robustness.differences(pd.read_csv(robustness.RESULTS / f"{name}-values.csv"))
    written = pd.read_csv(robustness.RESULTS / f"{name}.csv")
    assert written[["measure", "arm", "against"]].equals(made[["measure", "arm", "against"]])
    for column in ("difference", "low", "high", "p_holm"):
        np.testing.assert_allclose(written[column], made[column], rtol=0.01, atol=1e-6)
