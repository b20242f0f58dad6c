"""Of a few seeds, of rounding, and of what cannot be, a stress test says nothing."""

import numpy as np
import pytest

from lightning_dice.analysis.facts import NONE
from lightning_dice.analysis.stress import write_stress
from lightning_dice.analysis.stress.over_runs import Window, window
from lightning_dice.analysis.stress.tables import tables
from lightning_dice.analysis.stress.wording import lead, numbers, said
from lightning_dice.analysis.sweep.statistics import NO_TEST, OPEN, TOO_FEW
from support.sweeps import Page


def fill(measured, seeds, gain=0.03):
    for seed in range(seeds):
        measured.add(0.9 + seed / 1000, seed, control="plain")
        measured.add(0.9 + gain + seed / 999, seed, flat=0.5 + seed / 1e6)
    return measured.load()


@pytest.mark.parametrize("seeds", [2, 3])
def test_there_is_no_verdict(measured, tmp_path, seeds):
    stress = fill(measured, seeds)
    assert set(stress.results.comparisons["finding"]) == {TOO_FEW}
    assert stress.results.comparisons[["p", "ci_low", "detectable"]].isna().all(axis=None)
    assert stress.points[["ci_low", "ci_high"]].isna().all(axis=None)
    assert f"have {seeds} seeds in common: nothing can be said" in lead(stress)
    assert said(stress) == []
    shown = {tile.label: tile.value for tile in numbers(stress)}
    assert (shown["better or flatter"], shown["worse or sharper"]) == (NONE, NONE)
    assert shown[TOO_FEW] == "8"
    page = Page()
    page.feed(write_stress(stress, tmp_path / "out").read_text("utf-8"))
    for word in ("better than", "flatter than", "confirmed are", "told apart"):
        assert word not in page.text.partition("Method")[0]


def test_intervals_end_where_their_measures_do(measured):
    for seed, worth in enumerate([0.999, 0.72, 0.999, 0.999, 0.75]):
        measured.add(worth, seed, flat=(0.001, 3.0, 0.001, 0.002, 0.1)[seed])
    table = tables(measured.load())["measures"].set_index(["metric", "kind"])
    assert table.loc["accuracy", "ci_high"].max() <= 1
    assert table.loc["calibration error", "ci_low"].min() == 0
    assert table.loc["loss increase", "ci_low"].min() == 0
    assert table.loc["eigenvalue", "ci_low"].min() < 0, "curvature may be negative"


def test_rounding_is_no_difference(measured):
    for seed in range(5):
        worth = 0.9 + seed / 70
        measured.add(worth, seed, control="plain")
        measured.add(float(np.float32(worth)), seed)
    findings = measured.load().results.comparisons["finding"]
    assert set(findings) <= {OPEN, NO_TEST}
    assert findings[0] == OPEN


def test_rates_that_differ_by_rounding_are_all_the_best():
    value = np.float32(0.9777158)
    near = [float(v) for v in (value, np.nextafter(value, np.float32(1)), value)]
    rates = [0.1, 0.2, 0.4, 0.8, 1.6]
    found = window(rates, [0.5, near[0], 0.1, *near[1:]], "max")
    assert found == Window(0.8, 1.6, 0.8, cut_low=False, cut_high=True)
    turned = window(rates, [0.5, near[1], 0.1, near[0], near[2]], "max")
    assert turned == found


def test_a_rate_exactly_at_one_percent_is_as_good():
    values = [float(np.float32(value)) for value in (0.99 * 0.9, 0.9, 0.8)]
    assert window([0.1, 0.2, 0.4], values, "max").low == 0.1
