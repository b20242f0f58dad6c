import base64
import csv
import io
import math
import re
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from lightning_dice.analysis.phrases import MINUS
from lightning_dice.analysis.sweep import Sweep, write_sweep_report
from lightning_dice.analysis.sweep import report as module
from lightning_dice.analysis.sweep.method import method
from lightning_dice.analysis.sweep.plots.learning import learning_curves
from lightning_dice.analysis.sweep.results import Results
from lightning_dice.analysis.sweep.tables import as_markdown, tables
from lightning_dice.rules import SavingThrow, SettingError

TABLES = ("arms", "comparisons", "left_out", "runs")
EVIL = '<script>alert("1")</script>&<img src=x onerror=y> $\\frac | `x`'


def read(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def written(tmp_path_factory, make_sweep):
    """A whole sweep and its report."""
    folder = tmp_path_factory.mktemp("whole") / "sweep"
    make_sweep(folder, seeds=range(5))
    (folder / "foreign").mkdir()
    (folder / "foreign" / "summary.json").write_text("[]", encoding="utf-8")
    out = folder.parent / "out"
    return folder, write_sweep_report([folder], out)


def test_the_page_stands_alone_and_holds_its_plots(written, page_text):
    _, path = written
    page = page_text(path)
    for tag, attrs in page.elements:
        assert tag not in ("script", "link", "iframe", "object", "form")
        assert attrs.get("src", "data:").startswith("data:")
    source = path.read_text("utf-8")
    assert not re.search(r"url\(|@import|https?://", source)
    images = [image["src"].partition(",")[2] for image in page.all("img")]
    files = sorted((path.parent / "plots").iterdir())
    assert sorted(file.name for file in files) == ["learning.png", "thresholds.png"]
    assert {base64.b64decode(image) for image in images} == {file.read_bytes() for file in files}
    for file in files:
        picture = Image.open(io.BytesIO(file.read_bytes()))
        assert picture.width > 1000
        assert len(picture.convert("RGB").getcolors(1 << 20)) > 20


def test_it_has_the_look_of_a_runs_report(written):
    source = written[1].read_text("utf-8")
    for rule in ("prefers-color-scheme: dark", "@media print", "max-width: 40rem", "--paper"):
        assert rule in source


def test_its_sections_are_in_order(written, page_text):
    page = page_text(written[1])
    sections = [
        *("What each threshold came to", "How they learned", "What may be said", "Every arm"),
        *("Dice against their controls", "What was left out", "Method", "Versions"),
    ]
    places = [page.text.rindex(section) for section in sections]
    assert places == sorted(places)
    assert "summary.json is not one of lightning-dice 1 foreign" in page.text
    assert all(header.get("scope") in ("row", "col", "rowgroup") for header in page.all("th"))


def test_large_tables_are_folded(written, page_text):
    assert len(page_text(written[1]).all("details")) == 2


def test_the_tables_are_files_with_all_columns(written):
    folder, path = written
    found = sorted(file.name for file in (path.parent / "tables").iterdir())
    assert found == sorted(f"{name}{kind}" for name in TABLES for kind in (".csv", ".md"))
    runs = read(path.parent / "tables" / "runs.csv")
    assert len(runs) == len(list(folder.glob("*/metrics.csv")))
    assert list(runs[0]) == [
        *("data", "model", "optimizer", "control", "die", "threshold", "scaling", "normalize"),
        *("target", "scope", "granularity", "include", "exclude", "ranks", "seed", "final"),
        *("best", "baseline", "E[s]", "efficiency", "steps", "wall_time", "status", "path"),
    ]
    plain = next(run for run in runs if run["control"] == "plain")
    assert [plain[name] for name in ("die", "threshold", "target", "E[s]")] == [""] * 4
    assert plain["steps"] == "300"
    comparisons = read(path.parent / "tables" / "comparisons.csv")
    assert {row["against"] for row in comparisons} == {"plain", "plain_mean", "gaussian", "deck"}
    assert {row["n"] for row in comparisons} == {"5"}


def test_tables_are_sorted(written):
    _, path = written
    rows = [r for r in read(path.parent / "tables" / "arms.csv") if r["control"] == "dice"]
    keys = [(r["optimizer"], r["target"], int(r["threshold"])) for r in rows]
    assert keys == sorted(keys)


def test_markdown_has_the_rows_of_the_csv(written):
    _, path = written
    for name in TABLES:
        lines = (path.parent / "tables" / f"{name}.md").read_text("utf-8").splitlines()
        assert len(lines) - 2 == len(read(path.parent / "tables" / f"{name}.csv"))
        bars = {len(re.findall(r"(?<!\\)\|", line)) for line in lines}
        assert len(bars) == 1


def test_markdown_of_odd_cells():
    table = pd.DataFrame({"a": ["x|y\nz", None], "b": [1.5, math.nan], "c": [True, False]})
    assert as_markdown(table).decode().splitlines()[2:] == [
        "| x\\|y z | 1.5 | True |",
        "|  |  | False |",
    ]


def test_the_learning_curves_are_means_over_the_seeds(written):
    folder, _ = written
    results = Results.of(Sweep.load([folder]))
    table = learning_curves(results)
    runs, curves = results.sweep.runs, results.sweep.curves
    for row in table.sample(20, random_state=0).to_dict("records"):
        same = runs[(runs["context"] == row["context"]) & (runs["arm"] == row["arm"])].index
        here = curves[curves["run"].isin(same) & (curves["step"] == row["step"])]["value"]
        assert row["mean"] == pytest.approx(here.mean())
        reach = 2.7764451051977987 * here.std() / math.sqrt(5)  # Student's t, 4 degrees
        assert row["ci_high"] == pytest.approx(min(row["mean"] + reach, 1))


def test_a_curve_ends_where_a_run_was_not_measured(sweep):
    sweep.arm([0.9, 0.8, 0.7])
    path = sweep.path / "000" / "metrics.csv"
    path.write_text("".join(path.read_text("utf-8").splitlines(keepends=True)[:9]), "utf-8")
    table = learning_curves(sweep.load())
    assert table["step"].max() == 119


def names(results):
    return [drawing.name for drawing in module.drawings_of(results)]


class TestWhichPlots:
    def test_thresholds_by_two_dice(self, tmp_path, make_sweep):
        make_sweep(
            tmp_path / "s",
            thresholds=(2, 4),
            dice=("d4", "d20"),
            seeds=[0],
            controls=(),
            optimizers=["sgd"],
        )
        results = Results.of(Sweep.load([tmp_path / "s"]))
        assert names(results) == [
            *("thresholds-1", "thresholds-2", "learning-1", "learning-2", "threshold-by-die"),
        ]

    def test_something_else_than_thresholds(self, sweep):
        for lr in (0.1, 0.2, 0.3):
            sweep.arm([0.9, 0.91], settings={"optimizer.lr": lr}, baseline=0.88)
            control = {"settings": {"optimizer.lr": lr}, "baseline": 0.88, "control": "plain"}
            sweep.arm([0.9, 0.92], **control)
        assert names(sweep.load()) == ["learning", "arms"]
        path = write_sweep_report(sweep.path)
        assert len(list((path.parent / "plots").iterdir())) == 2

    def test_one_arm_without_curves_has_none(self, sweep):
        for folder in sweep.arm([0.9, 0.91]):
            (folder / "metrics.csv").unlink()
        assert names(sweep.load()) == []

    def test_controls_alone(self, sweep):
        sweep.arm([0.9, 0.91], control="plain")
        sweep.arm([0.9, 0.91], control="plain_mean")
        assert names(sweep.load()) == ["arms"]

    def test_many_contexts_are_cut_at_four_figures(self, sweep):
        for lr in range(30):
            for threshold in (5, 8):
                throw = SavingThrow("d20", threshold)
                sweep.add(0.9, settings={"optimizer.lr": lr}, throw=throw, points=2)
        results = sweep.load()
        both = ("thresholds", "learning")
        assert names(results) == [f"{kind}-{i}" for kind in both for i in range(1, 5)]
        readings = [drawing.reading for drawing in module.drawings_of(results) if drawing.reading]
        assert len(readings) == 2
        assert all("1 more figure would fit here" in reading for reading in readings)

    def test_many_arms_take_several_figures(self, sweep):
        for sides in range(2, 40):
            sweep.add(0.9, throw=SavingThrow(f"d{sides}", 1), points=1)
        assert names(sweep.load()) == ["arms-1", "arms-2"]

    @pytest.mark.parametrize("mode", ["min", "max"])
    @pytest.mark.parametrize("scale", [1.0, 1e7, 0.0, -1.0])
    def test_any_metric_can_be_drawn(self, sweep, mode, scale):
        task = {"metric": "score", "unit": "points", "mode": mode}
        for place, (die, threshold) in enumerate((d, t) for d in ("d4", "d6") for t in (2, 3)):
            finals = [1.0, None, 1.0 + place * scale]
            sweep.arm(finals, task=task, throw=SavingThrow(die, threshold), baseline=2.0)
        sweep.arm([1.0, 2.0], task=task, control="plain", baseline=2.0)
        path = write_sweep_report([sweep.path])
        assert len(list((path.parent / "plots").iterdir())) == 5

    def test_nothing_but_diverged_runs(self, sweep, page_text):
        for die in ("d4", "d6"):
            for threshold in (2, 3):
                sweep.arm([None, None], throw=SavingThrow(die, threshold))
        text = page_text(write_sweep_report([sweep.path])).text
        assert "No arm with dice learned: 8 of 8 runs diverged." in text
        assert "8 runs of 4 arms diverged" in text


def test_wide_bands_do_not_flatten_the_lines(sweep):
    for threshold in (5, 8):
        sweep.arm([0.2, 0.9], throw=SavingThrow("d20", threshold))  # 95 % CI: -3.9 to 5.0
    for drawing in module.drawings_of(sweep.load()):
        low, high = drawing.figure().axes[0].get_ylim()
        assert -0.2 < low < high < 1.2


def test_what_users_wrote_is_text(sweep, page_text):
    task = dict.fromkeys(("data", "model", "unit"), EVIL) | {"metric": "m<b>$x", "mode": "max"}
    throw = SavingThrow("d20", 10)
    for seed in range(2):
        sweep.add(0.9, seed, task=task, versions={EVIL: EVIL}, dice={"include": [EVIL]})
        sweep.add(0.9, seed, task=task, settings={EVIL: EVIL}, control="plain")
        sweep.add(0.9, 5 + seed, task=task, throw=throw, status="failed", error=EVIL)
    page = page_text(write_sweep_report([sweep.path]))
    assert not page.all("script")
    assert page.text.count("alert") > 3


def test_a_folder_is_the_place_of_its_own_report(sweep, tmp_path, monkeypatch):
    sweep.arm([0.9, 0.91])
    monkeypatch.chdir(tmp_path)
    assert write_sweep_report([sweep.path]) == sweep.path / "report.html"
    both = [sweep.path / "000", sweep.path / "001"]
    assert write_sweep_report(both) == Path("report/report.html")
    assert write_sweep_report(both, "a/b").resolve() == tmp_path / "a/b/report.html"


def test_a_second_report_is_the_first_again(sweep):
    sweep.arm([0.9, 0.91], throw=SavingThrow("d20", 5))
    sweep.arm([0.9, 0.91])
    sweep.add(0.9, 5, status="failed")

    def everything():
        path = write_sweep_report([sweep.path])
        there = [path, *(path.parent / "plots").iterdir(), *(path.parent / "tables").iterdir()]
        return {file.name: file.read_bytes() for file in there}

    assert everything() == everything()
    assert not list(sweep.path.rglob("*.part"))


def test_plots_of_an_older_report_go_and_others_stay(sweep):
    sweep.arm([0.9, 0.91])
    (sweep.path / "plots").mkdir()
    for name in ("thresholds-3.png", "arms.png", "mine.png"):
        (sweep.path / "plots" / name).write_bytes(b"old")
    write_sweep_report([sweep.path])
    found = {path.name for path in (sweep.path / "plots").iterdir()}
    assert found == {"learning.png", "mine.png"}


def test_a_place_that_cannot_be_written(sweep, tmp_path):
    sweep.add(0.9)
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    with pytest.raises(SettingError, match=r"report\.html cannot be written there"):
        write_sweep_report([sweep.path], tmp_path / "file")


def test_an_old_page_survives_a_failure(sweep, monkeypatch):
    sweep.arm([0.9, 0.91])
    path = write_sweep_report([sweep.path])
    old = path.read_bytes()
    replace = Path.replace

    def fail(self, target):
        if target.name == "report.html":
            raise OSError(28, "No space left on device")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(SettingError, match="No space left"):
        write_sweep_report([sweep.path])
    assert path.read_bytes() == old
    assert not list(sweep.path.rglob("*.part"))


def test_mixed_versions_own_tables_and_metrics_are_told(sweep, page_text):
    sweep.arm([0.9, 0.91], throw=SavingThrow("d2", 1, [-1, None]))
    sweep.arm([2.9, 2.8], task={"metric": "val_loss", "unit": "nats", "mode": "min"})
    sweep.add(0.9, 7, versions={"torch": "2.12.0"})
    text = page_text(write_sweep_report([sweep.path])).text
    assert "The runs were made with several versions of torch." in text
    assert "2.12.0 (1 run), 2.13.0 (4 runs)" in text
    assert f"The factors of own table, by face: {MINUS}1.00, discard." in text
    assert "validation accuracy (higher is better) and validation loss (lower is better)" in text


def test_left_out_is_grouped(sweep, page_text):
    sweep.add(0.9)
    for seed in range(5):
        sweep.add(0.9, 10 + seed, name=f"f{seed}", status="failed", error=f"boom {seed}")
        sweep.add(0.9, 20 + seed, name=f"r{seed}", status="refused", error="the same")
    text = page_text(write_sweep_report([sweep.path])).text
    assert "failed 5 f0 (boom 0), f1 (boom 1), f2 (boom 2) and 2 more" in text
    assert "refused: settings that cannot be used 5 r0, r1, r2 and 2 more: the same" in text


def frames(folders):
    results = Results.of(Sweep.load(folders))
    return {name: table.to_csv() for name, table in tables(results).items()}


@pytest.fixture(scope="module")
def groups(new_folder, tmp_path_factory):
    """A sweep in four folders."""
    folder = new_folder(tmp_path_factory.mktemp("groups") / "sweep")
    for group in range(4):
        for seed, value in enumerate(np.random.default_rng(group).uniform(0.4, 0.9, 3)):
            control = ("none", "plain", "deck", "plain_mean")[group]
            folder.add(float(value), seed, name=f"g{group}/{seed}", control=control)
    return [folder.path / f"g{group}" for group in range(4)]


@pytest.fixture(scope="module")
def expected(groups):
    return frames(groups)


@given(st.permutations(range(4)), st.binary(max_size=40), st.text("abc", min_size=1, max_size=3))
@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_order_does_not_matter_and_foreign_files_change_only_left_out(
    groups, expected, order, content, name
):
    assert frames([groups[i] for i in order]) == expected
    foreign = groups[0] / "foreign"
    try:
        (foreign / name).mkdir(parents=True)
        (foreign / name / "summary.json").write_bytes(content)
        changed = frames(groups)
    finally:
        shutil.rmtree(foreign)
    assert {name for name in expected if changed[name] != expected[name]} == {"left_out"}
    assert changed.keys() == expected.keys()


PROGRAM = """
import resource, sys
from lightning_dice.cli import main
main(standalone_mode=False)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="memory is counted in other units elsewhere")
def test_a_thousand_runs_take_less_than_20_seconds_of_a_core_and_a_gigabyte(tmp_path, make_sweep):
    count = make_sweep(tmp_path / "s", thresholds=range(1, 20, 2), seeds=range(8))
    assert count > 1000
    command = [sys.executable, "-W", "error", "-c", PROGRAM, "report", str(tmp_path / "s")]
    begun = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    # Its own time: other processes may have most of the clock's.
    assert ended.ru_utime + ended.ru_stime - begun.ru_utime - begun.ru_stime < 20
    assert (done.returncode, done.stderr) == (0, "")
    *_, page, kibibytes = done.stdout.splitlines()
    assert int(kibibytes) < 1 << 20
    assert Path(page).stat().st_size < 5_000_000


@pytest.mark.parametrize("target", ["gradient", "update"])
def test_the_method_says_what_scaled_gradients_do_not_share_with_their_controls(sweep, target):
    sweep.arm([0.9, 0.8], target=target)
    sweep.arm([0.9, 0.8], control="plain_mean")
    told = " ".join(method(sweep.load()))
    assert ("a reversed gradient need not reverse a step" in told) == (target == "gradient")
