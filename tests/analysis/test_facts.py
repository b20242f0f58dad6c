import pytest
from scipy import stats

from lightning_dice.analysis import Run
from lightning_dice.analysis.facts import (
    NONE,
    headlines,
    odds_rows,
    other_metrics,
    scale_rows,
    settings,
    subtitle,
    title,
    versions,
)
from lightning_dice.rules import SavingThrow


def plain(text):
    return text.replace("\N{NO-BREAK SPACE}", " ").replace("\N{MINUS SIGN}", "-")


def test_many_factors_are_counted(make_run):
    dice = {"scaling": [None, -1.5, *(k / 100 for k in range(60))]}
    setting = next(row for row in settings(Run.load(make_run(dice=dice))) if row.name == "scaling")
    assert setting.value.replace("\N{MINUS SIGN}", "-") == "62 factors, -1.50 to 0.590"


def test_the_headline_block(make_run, rolled):
    records = rolled(600)
    run = Run.load(make_run(records=records))
    block = {line.label: (plain(line.value), plain(line.note)) for line in headlines(run)}
    mean = sum(r.scale or 0 for r in records) / 600
    assert list(block) == ["val_loss", "baseline", "observed scale", "efficiency", "luck"]
    assert block["val_loss"] == ("1.93", "nats/byte")
    assert block["baseline"] == ("2.32", "bigram, beaten")
    assert block["observed scale"] == (f"{mean:.3f}", "expected 0.323")
    assert block["efficiency"] == ("0.30", "1 without dice")
    assert block["luck"] == (f"p = {run.luck:.2f}", "ordinary")


def test_a_headline_without_a_value_makes_room(make_run, make_own, rolled):
    run = Run.load(
        make_run(records=[], rows=[], odds={}, metrics={}, baseline=None, task={}, dice={})
    )
    assert headlines(run) == [("steps", "600", "of the optimizer")]
    own = headlines(Run.load(make_own(records=rolled(600))))
    labels = ["val_loss", "observed scale", "efficiency", "luck", "steps"]
    assert [line.label for line in own] == labels
    assert own[-1].value == "600"
    bare = make_own("bare", records=rolled(600), rows=[])
    (bare / "saving_throw.json").unlink()
    assert [(line.label, line.value) for line in headlines(Run.load(bare))][1:] == [
        ("rolls", "600")
    ]


def test_very_small_numbers_are_not_cut_at_their_spaces(make_run):
    run = Run.load(make_run(steps=9, metrics={"val_loss": 1.7e-9}))
    assert plain(headlines(run)[0].value).startswith("1.70 \N{MULTIPLICATION SIGN} 10")


def test_a_baseline_that_was_not_reached(make_run):
    run = Run.load(make_run(steps=9, metrics={"val_loss": 3.0}))
    assert headlines(run)[1].note == "bigram, not reached"


@pytest.mark.parametrize(("luck", "note"), [(0.05, "ordinary"), (0.0499, "unusual")])
def test_the_note_on_luck(make_run, luck, note):
    run = Run.load(make_run(steps=9, rolls={"count": 9, "luck": luck}))
    assert headlines(run)[-1].note == note


def test_the_odds_table(make_run, rolled):
    records = rolled(600)
    rows = odds_rows(Run.load(make_run(records=records)))
    assert [row.name for row in rows] == [
        "critical failure",
        "failure",
        "success",
        "critical success",
    ]
    for row, p in zip(rows, (0.05, 0.4, 0.5, 0.05), strict=True):
        count = sum(r.outcome.replace("_", " ") == row.name for r in records)
        law = stats.binom(600, p)
        assert plain(row.rolled) == f"{count} ({count / 6:.1f} %)"
        assert plain(row.expected).endswith(f"({100 * p:.1f} %)")
        assert float(row.expected.split(" ")[0]) == 600 * p
        assert row.usual == f"{law.ppf(0.025):.0f} to {law.ppf(0.975):.0f}"
    assert len({row.colour for row in rows}) == 4


def test_the_table_of_scales(make_run, record):
    scales = [None, -0.5, 0.0, 0.5, 1.0]
    run = Run.load(make_run(records=[record(i, s) for i, s in enumerate(scales)]))
    rows = {row.name.split(",")[0].split(" (")[0]: row for row in scale_rows(run)}
    assert plain(rows["discarded"].rolled) == "20.0 %"
    assert plain(rows["reversed"].rolled) == "20.0 %"
    assert plain(rows["scale above 0"].rolled) == "40.0 %"
    assert rows["mean"].rolled == "0.200"
    assert rows["mean square"].rolled == "0.300"
    assert [plain(row.expected) for row in rows.values()] == [
        "5.0 %",
        "40.0 %",
        "55.0 %",
        "0.323",
        "0.349",
    ]


def test_tables_without_rolls_still_have_the_odds(make_run):
    run = Run.load(make_run(records=[]))
    assert [plain(row.expected) for row in odds_rows(run)] == ["5.0 %", "40.0 %", "50.0 %", "5.0 %"]
    assert {row.rolled for row in (*odds_rows(run), *scale_rows(run))} == {NONE}


def test_tables_without_odds_still_have_the_rolls(make_run):
    run = Run.load(make_run(odds={}))
    assert {row.expected for row in (*odds_rows(run), *scale_rows(run))} == {NONE}
    assert NONE not in {row.rolled for row in (*odds_rows(run), *scale_rows(run))}


def test_settings_and_what_they_mean(make_run):
    rows = {row.name: row for row in settings(Run.load(make_run(steps=9)))}
    assert rows["die"].value == "d20"
    assert rows["threshold"].value == "10"
    assert rows["seed"].value == "0"
    assert rows["scaling"].meaning == "a failure reverses by how far it falls short"
    assert rows["optimizer"].value == "adamw"
    assert "does" not in rows["target"].meaning


def test_a_table_of_factors_is_spelled_out(make_run):
    throw = SavingThrow("d4", 2, [None, -0.5, 0.25, 1])
    rows = {row.name: row for row in settings(Run.load(make_run(steps=9, throw=throw)))}
    assert plain(rows["scaling"].value) == f"{NONE}, -0.500, 0.250, 1.00 (by face; {NONE} discards)"
    assert rows["scaling"].meaning == ""


def test_patterns_are_spelled_out_and_nothing_is_said_of_none(make_run):
    dice = {"target": "update", "scope": "tensor", "include": ["*.attention.*", "*.mlp.*"]}
    rows = {row.name: row for row in settings(Run.load(make_run(steps=9, dice=dice)))}
    assert rows["include"].value == "*.attention.*, *.mlp.*"
    assert rows["include"].meaning == "only parameters with such names are rolled for"
    assert "exclude" not in rows
    assert rows["target"].meaning == "a roll scales what the optimizer does to the weights"
    assert rows["scope"].meaning == "one roll for each parameter tensor"
    odd = {"include": "not a list", "exclude": {"a": 1}}
    rows = {row.name: row for row in settings(Run.load(make_run("odd", steps=9, dice=odd)))}
    assert rows["include"].value == "not a list"


def test_a_setting_of_another_kind_is_shown_and_not_explained(make_run):
    dice = {"scaling": ["skip"], "scope": {"a": 1}, "target": None}
    rows = {row.name: row for row in settings(Run.load(make_run(steps=9, dice=dice)))}
    assert rows["scaling"].value.startswith("skip")
    assert rows["scope"].meaning == ""
    assert "target" not in rows


def test_title_and_subtitle(make_run):
    run = Run.load(make_run("folder", steps=600))
    assert title(run) == "gpt on python_docs"
    assert [plain(fact) for fact in subtitle(run)] == [
        "finished",
        "22 November 2026, 15:00 UTC",
        "1 min 11 s",
        "600 steps",
        "seed 0",
    ]


@pytest.mark.parametrize(
    ("task", "words"),
    [
        ({"model": "Net", "data": None, "optimizer": "SGD"}, "Net with SGD"),
        ({"model": "Net", "data": "digits", "optimizer": "SGD"}, "Net on digits"),
        ({"model": "Net"}, "Net"),
        ({"optimizer": "SGD"}, "mine"),
        (None, "mine"),
    ],
)
def test_the_title_says_what_is_known(make_own, task, words):
    assert title(Run.load(make_own("mine", steps=9, parts={"task": task}))) == words


def test_title_and_subtitle_of_a_run_without_a_summary(make_run):
    folder = make_run("mine", steps=9)
    (folder / "summary.json").unlink()
    run = Run.load(folder)
    assert title(run) == "mine"
    assert subtitle(run) == []


@pytest.mark.parametrize("started", [None, "yesterday", 5, "2026-13-01"])
def test_a_start_that_is_no_time_is_left_out(make_run, started):
    run = Run.load(make_run(steps=9, started=started, wall_time="long", seed=None))
    assert subtitle(run) == ["finished", "9 steps"]


def test_metrics_and_versions(make_run):
    metrics = {"val_loss": 1.5, "val_accuracy": 0.25, "broken": None}
    run = Run.load(make_run(steps=9, metrics=metrics))
    told = [(name, plain(value)) for name, value in other_metrics(run)]
    assert told == [("val_loss", "1.50 nats/byte"), ("val_accuracy", "25.0 %")]
    assert ("torch", "2.13.0") in versions(run)
