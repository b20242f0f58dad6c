import json
from datetime import UTC, datetime, timedelta, timezone

import pytest

from lightning_dice.analysis.sweep.arms import CONTROLS, DICE, Arm, read_arm, read_odds, read_shares
from lightning_dice.analysis.sweep.contexts import context_columns, context_order
from lightning_dice.analysis.sweep.labels import cell
from lightning_dice.rules import SavingThrow

THROW = SavingThrow("d6", 3, "skip", "mean")


@pytest.mark.parametrize("control", [DICE, *CONTROLS])
def test_an_arm_has_what_its_control_keeps(make_summary, control):
    arm = read_arm(make_summary(0.9, control=control, throw=THROW, target="update"))
    throw, place = arm[1:5], arm[5:]
    assert arm.control == control
    assert throw == (("", None, "", "") if control == "plain" else ("d6", 3, "skip", "mean"))
    kept = ("update", "model", "per_accumulation_step", "", "", "shared")
    assert place == (("",) * 6 if control.startswith("plain") else kept)


@pytest.mark.parametrize("control", CONTROLS)
def test_the_counterpart_is_the_arm_that_such_a_run_is_of(make_summary, control):
    dice = read_arm(make_summary(0.9, throw=THROW, scope="tensor"))
    other = read_arm(make_summary(0.9, control=control, throw=THROW, scope="tensor"))
    assert dice.counterpart(control) == other


def test_a_gaussian_is_known_by_the_saving_throw_it_stands_for(make_summary):
    summary = make_summary(0.9, control="gaussian", throw=THROW)
    summary["dice"] |= {"die": "d200", "threshold": 77, "scaling": [0.5] * 200}
    summary["odds"] = {**summary["odds"], "mean": 7.0}
    assert read_arm(summary)[1:5] == ("d6", 3, "skip", "mean")
    assert read_odds(summary) == (float(THROW.odds().mean), float(THROW.odds().efficiency))


def test_a_summary_from_before_controls_is_of_dice(make_summary):
    summary = make_summary(0.9, throw=THROW)
    expected = read_arm(summary), read_odds(summary)
    del summary["control"], summary["settings"]
    assert (read_arm(summary), read_odds(summary)) == expected


def test_plain_has_no_odds(make_summary):
    assert read_odds(make_summary(0.9, control="plain")) == (None, None)
    assert read_shares(make_summary(0.9, control="plain")) == (None, None)


@pytest.mark.parametrize("control", [DICE, "plain_mean", "gaussian", "deck"])
def test_shares_are_those_of_the_saving_throw(make_summary, control):
    odds = SavingThrow("d20", 12).odds()
    summary = make_summary(0.9, control=control, throw=SavingThrow("d20", 12))
    assert read_shares(summary) == (float(odds.inverse), float(odds.discard))


def test_own_tables_are_told_apart_and_named(sweep):
    for number, table in enumerate(([-1, 0.5], [-1, None], [-1.0, 0.5])):
        sweep.add(0.9, seed=number, throw=SavingThrow("d2", 2, table))
    sweep.add(0.9, throw=SavingThrow("d2", 2))
    loaded = sweep.load().sweep
    labels = {loaded.scalings[arm.scaling] for arm in loaded.arms}
    assert labels == {"own table 1", "own table 2", "margin"}
    assert sorted(loaded.own_tables.values()) == ["\u22121.00, 0.500", "\u22121.00, discard"]


def test_one_own_table_needs_no_number(sweep):
    sweep.add(0.9, throw=SavingThrow("d2", 2, [-1, 1]))
    assert list(sweep.load().sweep.own_tables) == ["own table"]


def test_arms_are_sorted(sweep):
    for die in ("2d20kh1", "d20", "d6"):
        for threshold in (5, 3):
            for target in ("update", "gradient"):
                sweep.add(0.9, throw=SavingThrow(die, threshold), target=target)
    sweep.add(0.9, control="plain")
    arms = sweep.load().sweep.arms
    found = [(arm.target, arm.die, arm.threshold) for arm in arms[1:]]
    dice = [(die, threshold) for die in ("d6", "d20", "2d20kh1") for threshold in (3, 5)]
    assert arms[0].control == "plain"
    assert found == [(target, *throw) for target in ("gradient", "update") for throw in dice]


def test_patterns_tell_arms_apart(sweep):
    sweep.add(0.9, dice={"include": ["a.*", "b"]})
    sweep.add(0.9, dice={"exclude": "c"})
    arms = sweep.load().sweep.arms
    assert {(arm.include, arm.exclude) for arm in arms} == {("a.*, b", ""), ("", "c")}


class TestContexts:
    def columns(self, make_summary, *settings, **more):
        return context_columns(
            [make_summary(0.9, settings=given, seed=i, **more) for i, given in enumerate(settings)]
        )

    def test_what_is_the_same_everywhere_is_no_column(self, make_summary):
        columns = self.columns(make_summary, {}, {})
        assert columns == {"data": ["digits"] * 2, "model": ["cnn"] * 2, "optimizer": ["sgd"] * 2}

    def test_any_other_setting_is(self, make_summary):
        columns = self.columns(make_summary, {"trainer.max_steps": 5}, {"trainer.max_steps": 6})
        assert columns["trainer.max_steps"] == [5.0, 6.0]

    def test_equal_numbers_are_equal_and_truth_is_none(self, make_summary):
        assert "x" not in self.columns(make_summary, {"x": 1}, {"x": 1.0})
        assert self.columns(make_summary, {"x": 1}, {"x": True})["x"] == [1.0, "true"]

    def test_what_an_arm_or_a_seed_says_is_no_context(self, make_summary):
        given = [{"dice.x": n, "saving_throw.y": n, "data.seed": n, "control": n} for n in (0, 1)]
        assert set(self.columns(make_summary, *given)) == {"data", "model", "optimizer"}

    def test_what_the_optimizer_implies_is_none_and_what_varies_within_is(self, make_summary):
        summaries = [make_summary(0.9, optimizer=name) for name in ("sgd", "adamw", "sgd")]
        assert set(context_columns(summaries)) == {"data", "model", "optimizer"}
        summaries[2]["settings"]["optimizer.lr"] = 0.3
        columns = context_columns(summaries)
        assert columns["optimizer.lr"] == [0.1, 0.001, 0.3]
        assert set(columns) == {"data", "model", "optimizer", "optimizer.lr"}

    def test_a_list_is_a_value(self, make_summary):
        columns = self.columns(make_summary, {"x": [1, 2]}, {"x": [1, 3]})
        assert columns["x"] == ["[1, 2]", "[1, 3]"]

    def test_runs_from_before_settings_contradict_nothing(self, make_summary):
        summaries = [make_summary(0.9, settings={"x": x}) for x in (1, 2, 1)]
        del summaries[2]["settings"]
        assert context_columns(summaries[::2]).keys() == {"data", "model", "optimizer"}
        assert context_columns(summaries)["x"] == [1.0, 2.0, None]

    def test_order(self):
        values = ["a", 10.0, None, 2.0]
        assert sorted(values, key=lambda v: context_order([v])) == [None, 2.0, 10.0, "a"]

    def test_runs_are_only_compared_within_one(self, sweep):
        sweep.arm([0.9, 0.8], settings={"optimizer.lr": 0.1})
        sweep.arm([0.7, 0.6], settings={"optimizer.lr": 0.2}, control="plain")
        results = sweep.load()
        assert results.labels.contexts == ("lr 0.1", "lr 0.2")
        assert len(results.comparisons) == 0

    def test_two_metrics_are_two_contexts(self, sweep):
        sweep.arm([0.9, 0.8])
        sweep.arm([2.9, 2.8], task={"metric": "val_loss", "unit": "nats", "mode": "min"})
        results = sweep.load()
        assert results.labels.contexts == ("validation accuracy", "validation loss")
        assert results.sweep.context_cells(1)["metric"] == "val_loss"

    def test_a_setting_that_is_not_set(self, sweep):
        sweep.add(0.9, settings={"trainer.clip": None})
        sweep.add(0.9, settings={"trainer.clip": 1e7})
        assert sweep.load().labels.contexts == (
            "clip not set",
            "clip 1.00\u00a0\u00d7\u00a010\u2077",
        )
        assert cell(None) == ""


class TestRepeats:
    def test_the_first_by_its_start_counts(self, sweep):
        zone = timezone(timedelta(hours=5))
        late = datetime(2026, 1, 1, 12, tzinfo=UTC)
        early = datetime(2026, 1, 1, 16, tzinfo=zone)  # 11 o'clock in UTC
        sweep.add(0.7, started=late.isoformat())
        sweep.add(0.8, started=early.isoformat())
        sweep.add(0.6, started="yesterday")
        sweep.add(0.6, started="0001-01-01T00:00:00")
        loaded = sweep.load().sweep
        assert loaded.runs["final"].tolist() == [0.8]
        reason = "repeats the arm and seed of another run"
        assert {(one.path, one.reason) for one in loaded.left_out} == {
            (path, reason) for path in ("000", "002", "003")
        }
        assert all("as 001" in one.detail for one in loaded.left_out)

    def test_plain_is_plain_whatever_its_dice_would_be(self, sweep):
        sweep.add(0.9, control="plain", throw=SavingThrow("d20", 5), target="update")
        sweep.add(0.8, control="plain", throw=SavingThrow("d6", 2), target="gradient")
        loaded = sweep.load().sweep
        assert loaded.arms == (Arm("plain"),)
        assert loaded.runs["final"].tolist() == [0.9]
        assert [one.path for one in loaded.left_out] == ["001"]

    def test_a_failed_run_stands_in_nobodys_way(self, sweep):
        sweep.add(0.1, status="failed", started="2020-01-01T00:00:00+00:00")
        sweep.add(0.9)
        assert sweep.load().sweep.runs["final"].tolist() == [0.9]


def test_best_is_by_the_mode_and_nan_is_no_value(sweep):
    rows = "step,val_accuracy,val_loss\n0,0.5,2\n5,0.9,nan\n9,0.7,3\n"
    for task in ("max", "min"):
        metric = {"max": "val_accuracy", "min": "val_loss"}[task]
        folder = sweep.add(0.7, task={"metric": metric, "unit": "", "mode": task})
        (folder / "metrics.csv").write_text(rows, encoding="utf-8")
    assert sweep.load().sweep.runs["best"].tolist() == [0.9, 2.0]


def test_a_step_that_was_logged_again_counts_once(sweep):
    folder = sweep.add(0.7)
    rows = "step,val_accuracy\n0,0.5\n5,0.6\n5,0.8\n9,0.7\n"
    (folder / "metrics.csv").write_text(rows, encoding="utf-8")
    curves = sweep.load().sweep.curves
    assert curves["value"].tolist() == [0.5, 0.8, 0.7]


def test_versions_are_counted(sweep):
    sweep.add(0.9, versions={"torch": "2.12"})
    sweep.add(0.9, seed=1, versions={"torch": "2.13"})
    sweep.add(0.9, seed=2, versions={"torch": "2.13"})
    assert sweep.load().sweep.versions == {"torch": {"2.12": 1, "2.13": 2}}


def test_the_arm_of_a_summary_with_odd_values(make_summary):
    summary = json.loads(json.dumps(make_summary(0.9)))
    summary["control"]["of"] = {"die": ["d", 6], "threshold": 3.0, "scaling": [1, "x", None]}
    arm = read_arm(summary)
    assert arm[1:5] == ("['d', 6]", 3, '[1.0, "x", null]', "none")
    assert arm.order
