"""Intervals of what is possible, none of a few seeds, and no verdict on rounding."""

import numpy as np
import pytest

from lightning_dice.analysis.sweep.measure import Measure
from lightning_dice.analysis.sweep.statistics import TOO_FEW
from lightning_dice.analysis.tolerance.breakdown import possible_thresholds
from lightning_dice.analysis.tolerance.layout import breakdown_table, pairs_table, ranking_table
from lightning_dice.analysis.tolerance.report import drawings_of, write_study
from lightning_dice.analysis.tolerance.within import Within
from lightning_dice.analysis.tolerance.wording import lead
from lightning_dice.rules import SavingThrow
from support.sweeps import LOSS
from support.tolerance import write_tolerance

ACCURACY = Measure("val_accuracy", "share right", "max")

GRID = (5, 10, 15)


def fill(folder, withstood, lost=0.1, plain=0.99, optimizer="sgd", **more):
    """A seed for each number: how many thresholds of the grid it withstands."""
    for seed, count in enumerate(withstood):
        given = {"optimizer": optimizer, **more}
        folder.add(plain, seed, control="plain", **given)
        for place, threshold in enumerate(GRID):
            final = plain if place < count else lost
            folder.add(final, seed, throw=SavingThrow("d20", threshold), **given)


@pytest.mark.parametrize("seeds", [(1, 2), (1, 2, 3)])
def test_a_few_seeds_have_no_interval_and_say_how_many_they_are(folder, load, page_text, seeds):
    fill(folder, seeds)
    study = load(folder)
    for table in (study.breakdowns, study.areas, study.ranking.table):
        assert table[["ci_low", "ci_high"]].isna().all(axis=None)
    assert study.curves[["kept_low", "final_low"]].isna().all(axis=None)
    (group,) = breakdown_table(study).groups
    assert f"({len(seeds)} seeds)" in group.rows[0][1]
    text = page_text(write_study(study)).text
    assert "nan" not in text.lower().replace("nano", "")


@pytest.mark.parametrize("seeds", [(0, 3, 0, 3), (0, 0, 0, 3), (3, 3, 0, 3)])
def test_a_threshold_lies_on_the_die(folder, load, seeds):
    fill(folder, seeds)
    (row,) = load(folder).breakdowns.to_dict("records")
    assert 1 <= row["ci_low"] < row["mean"] < row["ci_high"] <= 20
    assert (row["ci_low"] == 1) or (row["ci_high"] == 20)


@pytest.mark.parametrize(
    ("die", "grid", "ends"),
    [
        ("d20", [5, 10], (1, 20)),
        ("d20+2", [5, 22], (1, 22)),
        ("2d6kh1", [1, 2], (0, 6)),
        ("a die", [3, 4], (1, 4)),
    ],
)
def test_what_thresholds_a_die_has(die, grid, ends):
    assert possible_thresholds(die, grid) == ends


def test_nothing_is_kept_below_nothing_and_accuracies_end_at_1(folder, load):
    fill(folder, (0, 0, 0, 3), lost=0.01, plain=0.9999)
    study = load(folder)
    lows = study.curves[["kept_low", "final_low"]].to_numpy()
    assert np.nanmin(lows) == 0
    assert np.nanmax(study.curves["final_high"]) == 1
    assert np.nanmin(study.areas["ci_low"]) >= 0
    assert np.nanmin(study.ranking.table["ci_low"]) >= 0
    for drawing in drawings_of(study)[:1]:
        for axes in drawing.figure().axes:
            for line in axes.lines:
                if len(line.get_xdata()) == 2 and line.get_ydata()[0] == line.get_ydata()[1]:
                    assert 1 <= min(line.get_xdata()) <= max(line.get_xdata()) <= 20


@pytest.mark.parametrize("seeds", [1, 2, 3])
def test_below_four_seeds_nobody_is_ranked(tmp_path, load, seeds):
    folder = write_tolerance(tmp_path / "s", ["sgd", "muon"], spread=1e-4, seeds=range(seeds))
    study = load(folder)
    assert study.ranking.pairs["finding"].tolist() == [TOO_FEW]
    (group,) = ranking_table(study).groups
    assert {row[1] for row in group.rows} == {"1 to 2"}
    (pair,) = pairs_table(study).groups[0].rows
    assert pair[2:] == [TOO_FEW, pair[3], "\N{EN DASH}", "\N{EN DASH}"]
    counted = "1 seed" if seeds == 1 else f"{seeds} seeds"
    assert lead(study).startswith(f"With {counted} no ranks can be told apart; 4 or more are")
    assert "withstands most" not in lead(study)
    messages = {drawing.name: drawing.message for drawing in drawings_of(study)}
    assert messages["curves"].startswith("Too few seeds to rank: ")


@pytest.mark.parametrize("size", [1e-4, 1.0, 1e4])
def test_a_run_at_the_margin_of_float32_survives(size):
    plain = np.float32(size) * np.linspace(1, 1.9, 50, dtype=np.float32)
    kept = (plain * np.float32(0.95)).astype(float)
    assert Within(0.05, relative=True).survives(kept, plain.astype(float), ACCURACY).all()
    worse = (plain - np.float32(size / 8)).astype(float)
    margin = Within(size / 8, relative=False)
    assert margin.survives(worse, plain.astype(float), ACCURACY).all()
    assert not margin.survives(worse - size / 1000, plain.astype(float), ACCURACY).any()


def test_dice_that_are_plain_but_for_rounding_keep_all(folder, load):
    fill(folder, (3, 3, 3, 3), plain=1.25, task=LOSS, baseline=4.0)
    up = float(np.nextafter(np.float32(1.25), np.float32(2)))
    for path in folder.path.iterdir():
        text = (path / "summary.json").read_text("utf-8")
        if '"control": {"name": "none"' in text:
            text = text.replace('"val_loss": 1.25', f'"val_loss": {up}')
            (path / "summary.json").write_text(text, "utf-8")
    study = load(folder, "0%")
    assert study.breakdowns["beyond"].tolist() == [4]
    assert study.ranking.table["ci_low"].isna().all()
