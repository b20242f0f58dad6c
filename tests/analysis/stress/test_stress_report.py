import re

import pandas as pd
import pytest

from lightning_dice.analysis.stress import write_stress
from lightning_dice.analysis.stress.report import drawings_of
from lightning_dice.analysis.stress.tables import tables
from lightning_dice.analysis.stress.wording import lead, numbers, said
from lightning_dice.analysis.style import draw
from lightning_dice.rules import SavingThrow, SettingError
from support.sweeps import Page

NBSP = "\u00a0"


def text_of(path):
    page = Page()
    page.feed(path.read_text("utf-8"))
    page.close()
    assert page.open == []
    assert all(attrs["src"].startswith("data:") for attrs in page.all("img"))
    return page.text.replace(NBSP, " ")


def fill(measured, gain=0.03, flat=0.5, seeds=6):
    for seed in range(seeds):
        wiggle = seed * (seed % 3) / 1000
        measured.add(0.9 + wiggle, seed, control="plain")
        measured.add(0.9 + wiggle / 3, seed, control="plain_mean")
        measured.add(0.9 + gain + wiggle / 2, seed, flat=flat + wiggle)
    return measured


def test_a_comparison(measured, tmp_path):
    stress = fill(measured).load()
    page = write_stress(stress, tmp_path / "out")
    text = text_of(page)
    assert lead(stress).replace(NBSP, " ") in text
    assert lead(stress).startswith("18 runs were measured on 359 validation examples: 3 arms, 6")
    assert "Dice beside plain: of 8 comparisons, 4 better and 4 flatter." in lead(stress)
    assert re.search(r"Dice were better than plain by 2\.8\d* percentage points \(pp\)", text)
    assert "Dice were flatter than plain by" in text
    assert "better than" not in " ".join(said(stress)[4].points)
    assert "flatter is not better" in text
    assert "2302.07011" in text
    assert "Nothing: every run was measured." in text
    assert sorted(path.name for path in (tmp_path / "out" / "plots").iterdir()) == [
        *("differences.png", "strength.png", "worst-case.png"),
    ]


def test_ties_are_told_as_ties(measured):
    for seed, shift in enumerate([0.01, -0.01, 0.005, -0.004]):
        measured.add(0.9, seed, control="plain")
        measured.add(0.9 + shift, seed, flat=1 + shift)
    stress = measured.load()
    assert "of 8 comparisons, 8 cannot be told apart." in lead(stress)
    assert [number.value for number in numbers(stress)] == ["8", "4", "0", "0", "8"]


def test_tables(measured):
    given = tables(fill(measured).load())
    assert list(given) == ["measures", "comparisons", "left_out"]
    compared = given["comparisons"]
    assert len(compared) == 16
    plain = compared[compared["against"] == "plain"]
    assert plain["finding"].tolist() == ["better"] * 4 + ["flatter"] * 4
    measures = given["measures"]
    rows = measures[(measures["probe"] == "corruption") & (measures["metric"] == "accuracy")]
    assert len(rows) == 2 * 3 * 3  # kinds, strengths, arms
    assert rows["mean"].between(0.4, 0.9).all()


def test_one_run(measured, tmp_path):
    folder = measured.add(0.9)
    page = write_stress(measured.load(), tmp_path / "out")
    text = text_of(page)
    assert "One run was measured on 359 validation examples." in text
    assert "Accuracy under corruption 66.7 %" in text
    assert "With one run there is nothing to hold these values against." in text
    assert "Every comparison" not in text
    assert folder.is_dir()


@pytest.mark.parametrize(
    ("arms", "told"),
    [
        ({"none": [0, 1]}, "There are no controls"),
        ({"plain": [0, 1]}, "No arm rolls dice"),
        ({"none": [0], "plain": [0]}, "have 1 seed in common: nothing can be said"),
        ({"none": [0, 1, 2], "plain": [0, 1, 2]}, "have 3 seeds in common: nothing can be said"),
        ({"none": [0, 1], "plain": [2, 3]}, "have no seed in common: nothing can be said"),
    ],
)
def test_runs_that_cannot_be_compared(measured, arms, told):
    for control, seeds in arms.items():
        for seed in seeds:
            measured.add(0.9 + seed / 100, seed, control=control)
    stress = measured.load()
    assert told in lead(stress)
    assert [drawing.name for drawing in drawings_of(stress)] == [
        *(["values"] if len(arms) > 1 else []),
        *("strength", "worst-case"),
    ]


def test_many_arms_and_thresholds(measured):
    for seed in range(4):
        measured.add(0.9 + seed / 100, seed, control="plain")
        for threshold in (2, 5, 8):
            for target in ("gradient", "update"):
                throw = SavingThrow("d20", threshold)
                worth = 0.9 + seed / 50 - threshold / 100
                measured.add(worth, seed, throw=throw, target=target)
    stress = measured.load()
    drawings = {drawing.name: drawing for drawing in drawings_of(stress)}
    reading = drawings["strength"].reading
    assert reading.endswith("T is the threshold. 1 more arm is in the tables.")
    assert all(draw(drawing.figure).startswith(b"\x89PNG") for drawing in drawings.values())
    points = said(stress)[0].points
    assert points[0].startswith("Target gradient, at threshold")


def test_what_has_no_pair_is_in_no_picture_of_differences(measured):
    for seed in range(4):
        measured.add(0.9 + seed / 100, seed, control="plain")
        measured.add(0.91 + seed / 90, seed)
    measured.add(0.9, 0, optimizer="adamw")
    drawings = {drawing.name: drawing for drawing in drawings_of(measured.load())}
    assert [name for name in drawings if name.startswith("differences")] == ["differences"]
    assert drawings["differences"].message.startswith("SGD: ")
    assert len(drawings["differences"].figure().axes) == 8


def test_omissions_and_notes_come_before_everything(measured, tmp_path):
    omission = "Not measured: the trace (the Hessian is not finite)."
    measured.add(0.9, 0, record={"omissions": [omission]})
    measured.add(0.91, 1, record={"omissions": [omission], "notes": ["It was moved."]})
    text = text_of(write_stress(measured.load(), tmp_path / "out"))
    assert f"{omission} (2 runs)" in text
    assert "It was moved. (1 run)" in text


def test_over_runs(plain_runs, tmp_path):
    for seed in range(3):
        for lr in (0.01, 0.1, 1.0):
            for noise in (0.0, 0.5):
                settings = {"optimizer.lr": lr, "data.label_noise": noise}
                worth = 0.9 - noise / 5 - abs(lr - 0.1) / 20 + seed / 1000
                plain_runs.add(worth, seed, control="plain", settings=settings)
                plain_runs.add(worth + seed / 500, seed, settings=settings)
    stress = plain_runs.stress()
    text = text_of(write_stress(stress, tmp_path / "out"))
    names = {path.stem for path in (tmp_path / "out" / "plots").iterdir()}
    assert {"learning-rates-1", "learning-rates-2"} <= names
    assert any(name.startswith("label-noise") for name in names)
    assert "none of which could be measured" in text
    windows = pd.read_csv(tmp_path / "out" / "tables" / "windows.csv")
    assert len(windows) == 2 * 2 * 3  # contexts, arms, seeds
    assert tables(stress)["comparisons"]["metric"].nunique() == 3


def test_old_plots_go_and_other_files_stay(measured, tmp_path):
    measured.add(0.9)
    plots = tmp_path / "out" / "plots"
    plots.mkdir(parents=True)
    for name in ("differences-2.png", "mine.png"):
        (plots / name).write_bytes(b"old")
    write_stress(measured.load(), tmp_path / "out")
    names = {path.name for path in plots.iterdir()}
    assert "mine.png" in names
    assert "differences-2.png" not in names


def test_a_page_that_cannot_be_written(measured, tmp_path):
    measured.add(0.9)
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingError, match="cannot be written there"):
        write_stress(measured.load(), tmp_path / "file")
