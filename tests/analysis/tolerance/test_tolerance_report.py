import base64
import csv
import re
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from lightning_dice.analysis.sweep.statistics import interval
from lightning_dice.analysis.tolerance import write_tolerance_report
from lightning_dice.analysis.tolerance.plots.panels import LOOKS, looks, sheets
from lightning_dice.analysis.tolerance.report import drawings_of
from lightning_dice.analysis.tolerance.wording import lead, names, notes
from lightning_dice.rules import SavingThrow, SettingError
from support.sweeps import LOSS, odds_of
from support.tolerance import BREAKS_AT, left_of, write_tolerance

TABLES = ("areas", "breakdown", "curves", "left_out", "pairs", "ranking")
EVIL = '<script>alert("1")</script>&<img src=x onerror=y> $\\frac | `x`'


def read(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def written(small, tmp_path_factory):
    return write_tolerance_report([small], tmp_path_factory.mktemp("report") / "out")


def test_the_page_stands_alone_and_holds_its_plots(written, page_text):
    page = page_text(written)
    for tag, attrs in page.elements:
        assert tag not in ("script", "link", "iframe", "object", "form")
        assert attrs.get("src", "data:").startswith("data:")
    assert not re.search(r"url\(|@import|https?://", written.read_text("utf-8"))
    files = sorted((written.parent / "plots").iterdir())
    assert [file.name for file in files] == ["breakdown.png", "curves.png", "step.png"]
    images = {base64.b64decode(one["src"].partition(",")[2]) for one in page.all("img")}
    assert images == {file.read_bytes() for file in files}


def test_its_sections_are_in_order(written, page_text):
    text = page_text(written).text
    sections = [
        *("Tolerance of 2 optimizers: cnn on digits", "SGD withstands most", "Ranking"),
        *("The last threshold withstood, within 5 % of plain", "Where each optimizer breaks"),
        *("What each optimizer keeps", "The noise, or the smaller step?", "Family by family"),
        *("What was left out", "Method", "Versions"),
    ]
    places = [text.replace("\xa0", " ").rindex(section) for section in sections]
    assert places == sorted(places)


def test_the_tables_are_files(written):
    found = sorted(file.name for file in (written.parent / "tables").iterdir())
    assert found == sorted(f"{name}{kind}" for name in TABLES for kind in (".csv", ".md"))
    ranking = read(written.parent / "tables" / "ranking.csv")
    assert [row["optimizer"] for row in ranking] == ["SGD", "AdamW"]
    assert [(row["best_rank"], row["worst_rank"]) for row in ranking] == [("1", "1"), ("2", "2")]
    assert [row["lr"] for row in ranking] == ["0.1", "0.001"]
    curves = read(written.parent / "tables" / "curves.csv")
    assert {row["control"] for row in curves} == {"dice", "plain", "plain_mean"}
    assert len(curves) == 2 * (1 + 4 + 2 * 4)


def test_curves_are_means_over_the_seeds(written, study):
    runs = study.sweep.runs
    for row in read(written.parent / "tables" / "curves.csv"):
        if row["control"] != "dice" or row["optimizer"] != "AdamW":
            continue
        throw = SavingThrow("d20", int(row["threshold"]))
        arms = study.sweep.arms
        context = next(s.context for s in study.subjects if s.optimizer == "AdamW")
        own = runs[runs["context"] == context]

        def finals(control, threshold, target, own=own, arms=arms):
            chosen = [
                (arms[a].control, arms[a].threshold, arms[a].target) == (control, threshold, target)
                for a in own["arm"]
            ]
            return own[chosen].set_index("seed")["final"].sort_index()

        dice = finals("none", throw.threshold, row["target"])
        kept = dice / finals("plain", None, "")
        reach = stats.t.ppf(0.975, 4) * stats.sem(kept)
        assert float(row["kept"]) == pytest.approx(kept.mean())
        assert float(row["kept_low"]) == pytest.approx(max(kept.mean() - reach, 0))
        assert float(row["final"]) == pytest.approx(dice.mean())
        assert float(row["inverse"]) == pytest.approx(float(throw.odds().inverse))
        assert float(row["E[s]"]) == pytest.approx(float(throw.odds().mean))


def test_the_ranking_stands_on_the_areas(written):
    areas = read(written.parent / "tables" / "areas.csv")
    for row in read(written.parent / "tables" / "ranking.csv"):
        own = [float(one["area"]) for one in areas if one["optimizer"] == row["optimizer"]]
        assert float(row["score"]) == pytest.approx(np.mean(own))


def test_losses_are_kept_the_other_way_round(tmp_path, load):
    folder = write_tolerance(tmp_path / "s", optimizers=["sgd"], thresholds=(2, 14), task=LOSS)
    study = load(folder)
    plain, mild, harsh = (study.curves["kept"].sort_values().to_numpy()[i] for i in (-1, -2, 0))
    assert plain == pytest.approx(1, abs=0.02)
    left = left_of(odds_of(SavingThrow("d20", 14)), BREAKS_AT["sgd"])
    assert harsh == pytest.approx(1.7 / (3.5 - 1.8 * left), abs=0.02)
    assert mild > harsh
    assert "SGD kept" in lead(study)


def test_one_seed_has_no_intervals_and_no_ranks(tmp_path, load, page_text):
    folder = write_tolerance(tmp_path / "s", seeds=[3])
    study = load(folder)
    assert lead(study).startswith(
        "With 1 seed no ranks can be told apart; 4 or more are needed. SGD kept most, "
    )
    assert study.breakdowns["ci_low"].isna().all()
    page = page_text(write_tolerance_report(folder.path))
    assert page.text.count(" too few seeds ") == 1


def test_ties_are_said_as_such(tmp_path, load):
    folder = write_tolerance(tmp_path / "s", optimizers=["sgd"], clips=(1.0, 0.5), spread=0.1)
    told = lead(load(folder))
    assert told.startswith("Which optimizer withstands most cannot be said: no two of the 2 can be")


def test_a_shared_first_rank_is_said_as_such(tmp_path, load):
    folder = write_tolerance(
        tmp_path / "s", ["sgd", "adafactor", "rmsprop"], thresholds=(11, 12), seeds=range(6)
    )
    assert lead(load(folder)).startswith(
        "2 of 3 optimizers share the first rank, as none is confirmed to keep more than they do: "
        "Adafactor and SGD. They kept "
    )


def test_names_with_commas_are_parted_by_semicolons(tmp_path, load):
    folder = write_tolerance(tmp_path / "s", ["pure_sgd", "sgd"], thresholds=(2, 5), seeds=[0])
    study = load(folder)
    assert names(study, [0, 1]) == "SGD, no momentum; and SGD"
    assert names(study, [1, 1, 1, 1, 1, 1, 1]) == "SGD, SGD, SGD, SGD, SGD and 2 more"


def test_no_seed_in_common_is_no_ranking(folder, load):
    for seed, optimizer in enumerate(("sgd", "muon")):
        folder.add(0.9, seed, control="plain", optimizer=optimizer)
        for threshold in (5, 8):
            folder.add(0.8, seed, throw=SavingThrow("d20", threshold), optimizer=optimizer)
    study = load(folder)
    assert notes(study)[0].startswith("There is no ranking: no seed has the areas")
    assert lead(study).startswith("The last threshold withstood")


def test_runs_that_count_as_nothing_or_not_at_all_are_told(folder, page_text):
    folder.arm([0.9, 0.9], control="plain")
    for threshold in (2, 5):
        folder.arm([0.9, None], throw=SavingThrow("d20", threshold))
    folder.add(0.9, 2, control="plain")
    folder.add(0.9, 2, throw=SavingThrow("d20", 2))
    folder.add(0.9, 2, throw=SavingThrow("d20", 5), status="failed", error="boom")
    folder.add(0.9, 3, throw=SavingThrow("d20", 5), status="running")
    text = page_text(write_tolerance_report(folder.path)).text
    assert "2 runs diverged and ended without a value; they count as having kept nothing." in text
    assert "The ranking stands on 2 seeds of 3" in text
    for reason in ("failed 1", "had not ended 1", "lacks runs, so it has no area"):
        assert reason in text


def test_families_that_not_all_have_are_left_out_of_the_ranking(folder, load):
    for optimizer, targets in (("sgd", ("update", "gradient")), ("muon", ("update",))):
        folder.arm([0.9, 0.8], control="plain", optimizer=optimizer)
        for target in targets:
            for threshold in (5, 8):
                throw = SavingThrow("d20", threshold)
                folder.arm([0.8, 0.7], throw=throw, target=target, optimizer=optimizer)
    (told,) = notes(load(folder))
    assert told.endswith("which the ranking leaves out: target gradient.")


class TestPlots:
    def test_each_clipping_has_its_figures(self, tmp_path, load):
        folder = write_tolerance(tmp_path / "s", clips=(1.0, None), thresholds=(2, 8), seeds=[0])
        study = load(folder)
        found = [drawing.name for drawing in drawings_of(study)]
        assert found == ["breakdown", "curves-1", "curves-2", "step-1", "step-2"]
        messages = [drawing.message.partition(":")[0] for drawing in drawings_of(study)]
        assert messages[1:] == ["Not clipped", "Clipped"] * 2
        shown = [sheet.subjects for sheet in sheets(study)]
        assert sorted(subject for sheet in shown for subject in sheet) == [0, 1, 2, 3]
        look = looks(study)
        for sheet in shown:
            assert len({look[subject] for subject in sheet}) == 2

    def test_more_optimizers_than_looks_take_another_figure(self, folder, load):
        for lr in range(len(LOOKS) + 1):
            for control, threshold in (("plain", 5), ("none", 5), ("none", 8)):
                throw = SavingThrow("d20", threshold)
                folder.add(0.9, control=control, throw=throw, settings={"optimizer.lr": lr})
        study = load(folder)
        assert [len(sheet.subjects) for sheet in sheets(study)] == [len(LOOKS), 1]
        assert lead(study).endswith("SGD (lr 8) 8 or more (the first 3 and the last 3 of 9).")

    def test_a_family_that_one_target_lacks_leaves_its_panel_empty(self, folder, load):
        folder.arm([0.9], control="plain")
        for scaling, target in (("margin", "update"), ("skip", "update"), ("skip", "gradient")):
            for threshold in (5, 8):
                throw = SavingThrow("d20", threshold, scaling)
                folder.arm([0.9], throw=throw, target=target)
        study = load(folder)
        (sheet,) = sheets(study)
        names = [[f if f is None else study.family_name(f) for f in row] for row in sheet.rows]
        skip = ["target gradient, skip", "target update, skip"]
        assert names == [skip, [None, "target update, margin"]]
        figure = drawings_of(study)[1].figure()
        assert [axes.axison for axes in figure.axes].count(False) == 1

    def test_looks_differ_in_colour_marker_and_dashes(self):
        for kind in zip(*LOOKS, strict=True):
            assert len(set(map(str, kind))) == len(LOOKS)

    def test_lines_start_at_plain(self, study):
        drawing = next(one for one in drawings_of(study) if one.name == "curves")
        for axes in drawing.figure().axes:
            curves = [line for line in axes.lines if line.get_label() in ("SGD", "AdamW")]
            assert len(curves) == 2
            for line in curves:
                assert (line.get_xdata()[0], line.get_ydata()[0]) == (0, 1)

    def test_without_the_control_there_is_no_step(self, folder, load):
        folder.arm([0.9], control="plain")
        for threshold in (5, 8):
            folder.arm([0.9], throw=SavingThrow("d20", threshold))
        assert [one.name for one in drawings_of(load(folder))] == ["breakdown", "curves"]


def test_where_every_curve_has_a_gap_nothing_is_known(folder, load, page_text):
    for seed, threshold in enumerate((5, 8)):
        folder.add(0.9, seed, control="plain", versions={"torch": f"2.{seed}"})
        folder.add(0.9, seed, throw=SavingThrow("d20", threshold))
        folder.add(0.9, seed, throw=SavingThrow("d20", threshold), control="plain_mean")
    folder.add(0.9, 2, control="plain")
    study = load(folder)
    # One seed survives the milder threshold and has no run at the harsher one, the other is the
    # other way round.
    assert lead(study) == "No breakdown threshold is known."
    assert [drawing.name for drawing in drawings_of(study)] == ["curves", "step"]
    text = page_text(write_tolerance_report(folder.path)).text
    assert "several versions of torch" in text


def test_what_users_wrote_is_text(folder, page_text):
    task = dict.fromkeys(("data", "model", "unit"), EVIL) | {"metric": "m<b>$x", "mode": "max"}
    for control, threshold in (("plain", 5), ("none", 5), ("none", 8)):
        throw = SavingThrow("d20", threshold)
        settings = {"optimizer.x": EVIL}
        more = {"task": {**task, "optimizer": EVIL}, "versions": {EVIL: EVIL}}
        folder.add(0.9, control=control, throw=throw, settings=settings, **more)
    page = page_text(write_tolerance_report(folder.path, within="0.5"))
    assert not page.all("script")
    assert page.text.count("alert") > 3


def test_where_it_goes(small, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert write_tolerance_report(small) == small / "tolerance" / "report.html"
    several = [small, small / "000"]
    assert write_tolerance_report(several) == Path("tolerance/report.html")
    before = {p.name: p.read_bytes() for p in (small / "tolerance").rglob("*.*")}
    (small / "tolerance" / "plots" / "curves-7.png").write_bytes(b"old")
    (small / "tolerance" / "plots" / "mine.png").write_bytes(b"mine")
    write_tolerance_report(small)
    after = {p.name: p.read_bytes() for p in (small / "tolerance").rglob("*.*")}
    assert after == {**before, "mine.png": b"mine"}


def test_a_place_that_cannot_be_written(small, tmp_path):
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    with pytest.raises(SettingError, match=r"report\.html cannot be written there"):
        write_tolerance_report(small, tmp_path / "file")


def test_a_margin_is_refused_before_anything_is_written(small, tmp_path):
    with pytest.raises(SettingError, match="within='lots'"):
        write_tolerance_report(small, tmp_path / "out", within="lots")
    assert not (tmp_path / "out").exists()


def test_intervals_are_those_of_every_report():
    # 95 % of Student's t with three degrees of freedom, by its table.
    low, high = interval(np.array([4.0]), np.array([1.0]), np.array([2.0]))
    assert (low[0], high[0]) == (pytest.approx(1 - 3.182446), pytest.approx(1 + 3.182446))


def test_that_little_is_easily_kept_is_said_where_plain_results_differ(folder, load):
    for optimizer, plain in (("sgd", 2.4), ("adamw", 2.0)):
        more = {"optimizer": optimizer, "task": LOSS, "baseline": 3.0}
        folder.add(plain, control="plain", **more)
        for threshold in (5, 10):
            folder.add(plain + threshold / 50, throw=SavingThrow("d20", threshold), **more)
    (said, *_) = notes(load(folder))
    assert said.startswith("Plain training ends at 2.00 to 2.40 nats/byte")


def test_it_is_not_said_where_they_are_alike(study):
    assert not any("less to lose" in note for note in notes(study))


def test_an_optimizer_that_withstands_nothing_has_no_threshold_in_the_title(folder, load):
    for optimizer, plain, left in (("sgd", 0.9, 0.9), ("adamw", 0.9, 0.5), ("muon", 0.9, 0.4)):
        folder.add(plain, control="plain", optimizer=optimizer)
        for threshold in (5, 10):
            folder.add(left, throw=SavingThrow("d20", threshold), optimizer=optimizer)
    (drawing, *_) = drawings_of(load(folder))
    assert drawing.name == "breakdown"
    said = drawing.message.replace("\xa0", " ")
    assert said.endswith("up to threshold 10.0 or more with SGD, below 5 with Muon")
