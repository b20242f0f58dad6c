"""The study by itself: rates are tuned, what is compared is chosen by rules, and nothing twice."""

import math
from collections import Counter
from dataclasses import replace

import pytest
import run as command
import stages
import study
from arms import PLAIN, named
from click.testing import CliRunner
from plan import read_lines
from regimes import REGIMES

OPTIMA = {"plain": 3, "dropout-0.2": 2, "magma": 9, "t5-skip-tensor-update-all": -2}
"""The best of the grid's points for some arms; the others' is 2."""


def valued(line):
    """A row whose value is best at its arm's own point of the grid."""
    point = math.log2(line["lr"] / stages.GRIDS[line["base"]])
    optimum = OPTIMA.get(line["arm"], 2)
    best = {"plain": 1.0, "dropout-0.2": 0.9, "t5-skip-tensor-update-all": 0.8}
    loss = best.get(line["arm"], 1.1) + 0.01 * (point - optimum) ** 2
    return {**line, "diverged": False, "val_loss": loss, "val_accuracy": None}


def made(stage, regime, base, rows):
    """All that a stage asks for, until it asks for nothing more."""
    rows, rounds = list(rows), 0
    while True:
        have = [(row["arm"], row["lr"], row["seed"], row["regime"]) for row in rows]
        lines = stage(regime, base, stages.Rows(rows))
        left = [n for n in lines if (n["arm"], n["lr"], n["seed"], n["regime"]) not in have]
        if not left:
            return rows, rounds
        rows += [valued(line) for line in left]
        rounds += 1


def confirmed(regime, rows):
    """All that is needed before a regime is compared."""
    for stage in (stages.tuning, stages.confirming):
        rows, _ = made(stage, regime, "adamw", rows)
    return rows


@pytest.fixture(scope="module")
def tuned():
    return made(stages.tuning, "manual", "adamw", [])


@pytest.fixture(scope="module")
def settled(tuned):
    return confirmed("manual", tuned[0])


def test_every_arm_has_the_same_grid_until_its_best_lies_on_the_edge(tuned):
    rows, rounds = tuned
    tried = Counter(row["arm"] for row in rows)
    assert rounds == 4
    assert {tried.pop("magma"), tried.pop("t5-skip-tensor-update-all")} == {8}, "five, and three"
    assert set(tried.values()) == {5}
    assert {row["seed"] for row in rows} == {stages.TUNING_SEED}


def test_nothing_is_compared_before_it_is_tuned_and_confirmed(tuned, settled):
    rows, _ = tuned
    assert stages.confirming("manual", "adamw", stages.Rows(rows[:-1])) == []
    for known in (rows, settled[:-1]):
        assert stages.comparison("manual", "adamw", stages.Rows(known)) == []
        assert stages.repetition("manual", "adamw", stages.Rows(known)) == []
    assert stages.comparison("manual_long", "adamw", stages.Rows(settled)) == [], "it tunes anew"


def test_what_is_compared_is_tuned_with_two_more_seeds_at_every_rate_tried(tuned):
    rows = stages.Rows(tuned[0])
    lines = stages.confirming("manual", "adamw", rows)
    assert {line["seed"] for line in lines} == {101, 102}
    arms = {line["arm"] for line in lines}
    assert {"plain", "dropout-0.2", stages.CLASSIC, stages.STANDING, "magma"} <= arms
    assert not any(":" in name or "+" in name or name == "plain-0.5" for name in arms)
    for name in arms:
        own = Counter(line["lr"] for line in lines if line["arm"] == name)
        assert own == dict.fromkeys(rows.tried("manual", "adamw", named(name)), 2)


def test_the_mean_over_three_seeds_decides_the_rate_but_not_who_is_compared(settled):
    def with_loss(rows, seed, loss):
        """With another end of plain's at one rate, of one seed."""
        own = {"arm": "plain", "seed": seed, "lr": 0.002}
        return [{**row, "val_loss": loss} if own.items() <= row.items() else row for row in rows]

    lucky = with_loss(settled, stages.TUNING_SEED, 0.5)
    unlucky = with_loss(lucky, 102, 3.0)
    rates = [
        stages.rate_of("manual", "adamw", PLAIN, stages.Rows(rows))
        for rows in (settled, lucky, unlucky)
    ]
    assert rates == [0.008, 0.002, 0.008]
    same = [stages.finalists("manual", "adamw", stages.Rows(r)) for r in (settled, unlucky)]
    assert same[0] == same[1]


def test_what_is_compared_again_and_with_which_seeds(settled):
    rows = stages.Rows(settled)
    again = stages.repetition("manual", "adamw", rows)
    assert {line["seed"] for line in again} == set(range(20, 30))
    arms = {line["arm"] for line in again}
    assert {"plain", "dropout-0.2", "t5-skip-tensor-update-all", stages.STANDING} < arms
    assert len(arms) == 5, "and a weight decay"
    first = {line["arm"]: line["lr"] for line in stages.comparison("manual", "adamw", rows)}
    assert all(line["lr"] == first[line["arm"]] for line in again)


def test_what_is_compared_and_at_which_rates(settled):
    lines = stages.comparison("manual", "adamw", stages.Rows(settled))
    rates = {line["arm"]: line["lr"] for line in lines}
    assert len(lines) == 10 * len(rates)
    assert {line["dice_seed"] - line["seed"] for line in lines} == {stages.DICE_SEED}
    plain, best = 0.008, "t5-skip-tensor-update-all"
    assert (rates["plain"], rates["dropout-0.2"], rates[best]) == (plain, 0.004, 0.001 / 4)
    assert rates["plain-0.5"] == rates["raw:t15-margin-model-gradient-all"] == plain
    for name in ("gaussian:", "deck:", "rms:"):
        assert rates[name + best] == rates[best]
        assert rates[name + stages.STANDING] == rates[stages.STANDING]
    assert rates[f"{best}+dropout-0.2"] == rates[best]
    assert {stages.STANDING, stages.CLASSIC, "skipupdate", "magma"} <= rates.keys()


def test_a_run_that_diverged_is_no_best(settled):
    broken = [
        {**row, "diverged": row["arm"] == "plain" and row["lr"] > 0.003 and row["seed"] == 101}
        for row in settled
    ]
    assert stages.rate_of("manual", "adamw", PLAIN, stages.Rows(broken)) == 0.002


def test_the_longer_regime_compares_the_same_arms(settled):
    rows = confirmed("manual_long", settled)
    longer = {line["arm"] for line in stages.comparison("manual_long", "adamw", stages.Rows(rows))}
    assert longer == {arm.name for arm in stages.finalists("manual", "adamw", stages.Rows(rows))}


def test_other_optimizers_have_fewer_dice_and_no_decay():
    names = {arm.name for arm in stages.arms_of("manual", "rmsprop", stages.Rows([]))}
    assert sum(named(name).throw is not None for name in names) == 18 + 2
    assert not any(name.startswith("decay") for name in names)


def test_the_command_goes_on_until_all_is_done(images, monkeypatch, tmp_path):
    tiny = replace(images, name="tiny", steps=4, bases=("sgd",))
    monkeypatch.setitem(REGIMES, "tiny", tiny)
    monkeypatch.setattr(stages, "EXTENSIONS", 0)
    monkeypatch.setattr(stages, "SEEDS", range(1))
    monkeypatch.setattr(stages, "REPEATED_SEEDS", range(20, 21))
    command._data.cache_clear()
    out = tmp_path / "results" / "rows.jsonl"
    call = ["--out", str(out), "--device", "cpu", "--only", "tiny"]
    done = CliRunner().invoke(study.main, call, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    rows = list(read_lines(out))
    finalists = {arm.name for arm in stages.finalists("tiny", "sgd", stages.Rows(rows))}
    assert {row["arm"] for row in rows if row["seed"] == 0} == finalists
    again = CliRunner().invoke(study.main, call, catch_exceptions=False)
    assert again.output == ""
    assert list(read_lines(out)) == rows
