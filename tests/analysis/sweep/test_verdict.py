"""What the report says in words, on sweeps that were made to have one finding."""

import re

import numpy as np
import pytest

from lightning_dice.analysis.facts import NONE
from lightning_dice.analysis.phrases import MINUS, NBSP
from lightning_dice.analysis.sweep.headline import headline, numbers, title
from lightning_dice.analysis.sweep.phrasing import against, kind_of
from lightning_dice.analysis.sweep.report import left_out_line, notes
from lightning_dice.analysis.sweep.verdict import verdicts
from lightning_dice.rules import SavingThrow

CONTROLS = ("plain_mean", "gaussian", "deck")
LOSS = {"metric": "val_loss", "unit": "nats/byte", "mode": "min"}


def said(results):
    """All words of the verdict, with ordinary spaces."""
    told = [" ".join([v.heading, v.opening, *v.points]) for v in verdicts(results)]
    return "\n".join(told).replace(NBSP, " ").replace(MINUS, "-")


def around(mean, n=6, spread=0.004, seed=0):
    """Values with exactly this mean."""
    noise = np.random.default_rng(seed).standard_normal(n)
    return list(mean + spread * (noise - noise.mean()) / noise.std())


def throw(threshold):
    return SavingThrow("d20", threshold)


class TestOneArm:
    def test_all_equal(self, sweep):
        for control in ("none", "plain", *CONTROLS):
            sweep.arm([0.9, 0.91, 0.92, 0.93], control=control)
        results = sweep.load()
        assert "Dice and plain came to the same in every one of 4 seeds." in said(results)
        assert "Dice and the deck control came to the same in every one of 4 seeds." in said(
            results
        )
        assert "better" not in said(results)
        assert "The one arm with dice learned; it cannot be told apart" in headline(results)

    def test_it_cannot_be_told_apart(self, sweep):
        sweep.arm(around(0.9))
        sweep.arm(around(0.901, seed=1), control="plain")
        text = said(sweep.load())
        assert (
            "Dice and plain cannot be told apart: difference -0.1 percentage points (pp), " in text
        )
        assert "95 % CI -0.8 to 0.6, 6 seeds (detectable: 1.0 pp)." in text

    def test_a_clear_loss(self, sweep):
        sweep.arm(around(0.8))
        sweep.arm(around(0.9, seed=1), control="plain")
        text = said(sweep.load())
        assert (
            "Dice learned. Dice were worse than plain by 10.0 percentage points (pp) (95 %" in text
        )
        assert "6 seeds (p under 0.001 after Holm)." in text
        assert "cannot be told apart" not in text

    def test_a_gain_that_beats_every_control_is_the_dices_own(self, sweep):
        sweep.arm(around(0.95, seed=9))
        for seed, control in enumerate(("plain", *CONTROLS)):
            sweep.arm(around(0.9, seed=seed), control=control)
        results = sweep.load()
        assert "Dice were better than plain by 5.0 percentage points (pp) (95 % CI 4." in said(
            results
        )
        assert "Dice beat every control, too, so the gain over plain is the dice's own." in said(
            results
        )
        assert "it was better than plain and than every control." in headline(results)
        assert numbers(results)[3] == ("better than plain", "1", "1 by the dice's own doing")

    @pytest.mark.parametrize("control", CONTROLS)
    def test_a_gain_that_a_control_has_too_is_not(self, sweep, control):
        sweep.arm(around(0.95))
        sweep.arm(around(0.9, seed=9), control="plain")
        for seed, other in enumerate(CONTROLS):
            sweep.arm(around(0.95 if other == control else 0.9, seed=seed), control=other)
        results = sweep.load()
        name = {"plain_mean": "control with the same mean step"}.get(
            control, f"{control.capitalize() if control == 'gaussian' else control} control"
        )
        assert f"not credited to the dice: they did not beat the {name}, which may" in said(results)
        assert "not by the dice's own doing" in headline(results)
        assert "0 by the dice's own doing" in numbers(results)[3]
        assert "dice's own." not in said(results)

    def test_a_gain_without_controls_cannot_be_credited(self, sweep):
        sweep.arm(around(0.95))
        sweep.arm(around(0.9, seed=1), control="plain")
        results = sweep.load()
        assert "cannot be credited to the dice without the control with the same mean" in said(
            results
        )
        assert "not held against every control, so not credited" in headline(results)

    def test_lower_is_better_where_it_is(self, sweep):
        sweep.arm(around(1.9), task=LOSS, baseline=4.0)
        sweep.arm(around(2.0, seed=1), task=LOSS, baseline=4.0, control="plain")
        results = sweep.load()
        assert "Dice were better than plain by 0.100 nats/byte (95 % CI 0.09" in said(results)
        assert "pp" not in said(results)
        assert "validation loss (lower is better)" in headline(results)

    def test_one_seed_allows_no_comparison(self, sweep):
        for control in ("none", "plain", *CONTROLS):
            sweep.add(0.9, control=control)
        results = sweep.load()
        assert "With 1 seed no comparison is possible; 4 or more are needed." in said(results)
        assert "With 1 seed it cannot be said whether dice are better or worse" in headline(results)
        assert [number.value for number in numbers(results)[3:]] == [*[NONE] * 3, "0", "1"]
        for word in ("better than", "worse than", "told apart"):
            assert word not in said(results)

    def test_one_seed_in_common_with_one_control(self, sweep):
        sweep.arm(around(0.9))
        sweep.arm(around(0.9, seed=1), control="plain")
        sweep.add(0.9, control="deck")
        sweep.add(0.9, 99, control="gaussian")
        text = said(sweep.load())
        assert (
            "Dice and the deck control have 1 seed in common: too few to compare, as 4 or more are "
            "needed."
        ) in text
        assert "Dice and the Gaussian control have no seed with a value in common." in text

    def test_the_same_difference_everywhere_is_no_finding(self, sweep):
        plain = around(0.9)
        sweep.arm([value - 0.25 for value in plain])
        sweep.arm(plain, control="plain")
        assert "Dice differ from plain by the same in every seed, which no test can judge (-25" in (
            said(sweep.load())
        )

    def test_no_controls_no_claim(self, sweep):
        sweep.arm(around(0.9))
        results = sweep.load()
        claim = (
            "There are no controls: nothing to hold the dice against, so no claim that they help."
        )
        assert claim in said(results)
        assert claim in headline(results)
        assert "none could be compared with plain" in headline(results)

    def test_no_plain_no_claim_about_it(self, sweep):
        sweep.arm(around(0.9))
        sweep.arm(around(0.9, seed=1), control="deck")
        results = sweep.load()
        assert "There is no plain arm: whether dice help over plain training cannot" in said(
            results
        )
        assert "There is no plain arm, so whether dice help" in headline(results)

    def test_no_dice_no_verdict(self, sweep):
        sweep.arm(around(0.9), control="plain")
        results = sweep.load()
        assert said(results).strip() == "No arm rolls dice here; see the table of arms."
        assert headline(results).startswith("No arm rolls dice.")

    def test_an_interval_that_holm_does_not_confirm_says_so(self, sweep):
        sweep.arm(around(0.9))
        sweep.arm(around(0.9 + 0.0085, seed=1), control="plain")
        for control in CONTROLS:
            sweep.arm(around(0.9, seed=2), control=control)
        results = sweep.load()
        row = results.compared[results.families[0].context, results.families[0].arms[0]]["plain"]
        assert row.p < 0.05 < row.p_holm
        assert row.finding == "not confirmed"
        text = said(results)
        assert "Dice may be worse than plain, by 0.8 percentage points (pp) (95 % CI 0.1 to" in text
        assert re.search(r"6 seeds, but that is not confirmed \(p = 0\.1\d* after Holm\)", text)
        assert "it may differ from plain, which is not confirmed." in headline(results)
        assert numbers(results)[4] == ("level with plain", "1", "1 may differ, not confirmed")

    def test_diverged_runs_are_told_and_flatter(self, sweep):
        sweep.arm([0.9, None, 0.91, None])
        sweep.arm([0.9, 0.92, 0.9, None], control="plain")
        results = sweep.load()
        assert (
            "2 of 4 runs with dice ended without a value: training diverged. Means leave them out, "
            "which flatters that arm."
        ) in said(results)
        assert "3 runs of 2 arms diverged" in notes(results)[0]
        assert "2 seeds" in said(results)

    def test_arms_that_always_diverged_have_not_learned(self, sweep):
        sweep.arm([None, None])
        sweep.arm([0.9, 0.91], control="plain")
        results = sweep.load()
        assert "Dice did not learn." in said(results)
        assert headline(results).startswith(
            "The one arm with dice did not learn: 2 of 2 runs diverged."
        )

    def test_a_control_that_cannot_be_judged_is_not_said_to_have_failed(self, sweep):
        sweep.arm([0.05, 0.06, 0.055])
        sweep.add(0.9, control="deck")
        assert said(sweep.load()).startswith(" Dice did not learn. There is no plain arm")

    def test_without_a_baseline_learning_is_not_judged(self, sweep):
        for folder in sweep.arm([0.9, 0.9]):
            text = (folder / "summary.json").read_text("utf-8")
            text = text.replace('"value": 0.1', '"value": null')
            (folder / "summary.json").write_text(text, "utf-8")
        results = sweep.load()
        assert "It cannot be said whether dice learned." in said(results)
        assert "1 arm rolled dice" in headline(results)


class TestThresholds:
    def fill(self, sweep, finals, plain=0.9, controls=()):
        """Dice by threshold, plain, and controls by name and threshold."""
        for place, (threshold, mean) in enumerate(finals.items()):
            sweep.arm(around(mean, seed=place), throw=throw(threshold))
        sweep.arm(around(plain, seed=99), control="plain")
        for control, threshold, mean in controls:
            values = around(mean, seed=threshold)
            sweep.arm(values, control=control, throw=throw(threshold))
        return sweep.load()

    def test_neighbours_with_the_same_finding_are_told_together(self, sweep):
        results = self.fill(sweep, {2: 0.9, 5: 0.901, 8: 0.899, 10: 0.8, 12: 0.7, 15: 0.1, 20: 0.1})
        text = said(results)
        assert "At thresholds 2 to 12 dice learned." in text
        assert "At thresholds 15 and 20 dice did not learn." in text
        assert (
            "At thresholds 2 to 8 dice and plain cannot be told apart: differences from -0.1 "
            in text
        )
        assert "6 seeds each (detectable: " in text
        assert "At thresholds 10 and 12 dice were worse than plain by 10.0 pp (95 % CI " in text
        assert " to 20.0 pp (95 % CI " in text
        assert "15" not in text.split("cannot be told apart")[1]

    def test_a_finding_in_between_parts_them(self, sweep):
        text = said(self.fill(sweep, {2: 0.9, 5: 0.8, 8: 0.9}))
        assert "At threshold 2 dice and plain cannot" in text
        assert "At threshold 5 dice were worse" in text
        assert "At threshold 8 dice and plain cannot" in text

    @pytest.mark.parametrize(
        ("others", "words"),
        [
            ({"plain_mean": 0.9}, "dice did not learn; the control with the same mean step did."),
            ({"deck": 0.1}, "no arm learned: neither dice nor the deck control."),
            (
                {"plain_mean": 0.9, "gaussian": 0.1, "deck": 0.1},
                "did, and the Gaussian control and the deck control did not.",
            ),
            (
                {"gaussian": 0.1, "deck": 0.1},
                "no arm learned: neither dice nor the Gaussian control nor the deck control.",
            ),
        ],
    )
    def test_where_dice_do_not_learn_their_controls_are_asked(self, sweep, others, words):
        controls = [(control, 18, mean) for control, mean in others.items()]
        assert words in said(self.fill(sweep, {5: 0.9, 18: 0.1}, controls=controls))

    def test_diverged_runs_at_many_thresholds(self, sweep):
        for threshold in (2, 5, 8, 11):
            last = None if threshold > 2 else 0.9
            sweep.arm([0.9, 0.91, last], throw=throw(threshold))
        assert "At 3 thresholds 3 of 9 runs with dice ended without a value" in said(sweep.load())

    def test_a_different_number_of_seeds_is_told(self, sweep):
        sweep.arm(around(0.9, n=4), throw=throw(5))
        sweep.arm(around(0.9, n=6), throw=throw(8))
        sweep.arm(around(0.9, n=6, seed=1), control="plain")
        results = sweep.load()
        assert "4 to 6 seeds (detectable" in said(results)
        assert numbers(results)[1].value == "4 to 6"

    def test_several_unconfirmed_intervals_are_told_together(self, sweep):
        others = [(control, threshold, 0.9) for control in CONTROLS for threshold in (5, 8)]
        self.fill(sweep, {5: 0.9, 8: 0.897}, plain=0.9054, controls=others)
        text = said(sweep.load())
        assert "At thresholds 5 and 8 dice may be worse than plain, by" in text
        assert "6 seeds each, but that is not confirmed (at the least p = 0." in text


class TestFamilies:
    def test_headings_name_what_differs_and_nothing_else(self, sweep):
        for optimizer in ("sgd", "adamw"):
            for target in ("gradient", "update"):
                sweep.arm(around(0.9), optimizer=optimizer, target=target)
        headings = [verdict.heading for verdict in verdicts(sweep.load())]
        assert headings == [
            "AdamW, target gradient",
            "AdamW, target update",
            "SGD, target gradient",
            "SGD, target update",
        ]

    def test_families_of_one_threshold_have_it_in_their_heading(self, sweep):
        sweep.arm(around(0.9), throw=SavingThrow("d6", 3))
        sweep.arm(around(0.9), throw=SavingThrow("d8", 4))
        sweep.arm(around(0.9), throw=SavingThrow("d8", 4, "skip", "mean"), scope="tensor")
        headings = [verdict.heading for verdict in verdicts(sweep.load())]
        assert headings == [
            "d6, margin, scope model, threshold 3",
            "d8, margin, scope model, threshold 4",
            "d8, skip, normalized by mean, scope tensor, threshold 4",
        ]

    def test_points_are_spelt_out_once(self, sweep):
        for target in ("gradient", "update"):
            sweep.arm(around(0.9), target=target)
        sweep.arm(around(0.9, seed=1), control="plain")
        text = said(sweep.load())
        assert text.count("percentage points (pp)") == 1
        assert text.index("percentage points") < text.index(" pp")

    def test_the_headline_has_a_sentence_for_each_target(self, sweep):
        for place, (target, means) in enumerate(
            {"gradient": (0.9, 0.1, 0.8), "update": (0.95, 0.94, 0.9)}.items()
        ):
            for threshold, mean in zip((2, 5, 8), means, strict=True):
                values = around(mean, seed=place)
                sweep.arm(values, throw=throw(threshold), target=target)
        sweep.arm(around(0.9, seed=7), control="plain")
        results = sweep.load()
        assert headline(results) == (
            f"1 of 6 arms with dice (threshold 5) did not learn: 10.0{NBSP}% against 90.0{NBSP}% "
            "of plain training. With target gradient, 2 of 3 arms with dice learned; of these 1 "
            "was worse than plain and 1 cannot be told apart from plain. With target update, all "
            "3 arms with dice learned; of these 2 were better than plain (not held against every "
            "control, so not credited to the dice) and 1 cannot be told apart from plain. 42 runs "
            "counted with SGD: 7 arms, 6 seeds each, judged by validation accuracy (higher is "
            "better) at the end."
        )
        assert title(results) == "A sweep of cnn on digits"
        assert numbers(results)[5] == ("worse than plain", "1", "though they learned")

    def test_some_gains_earned_and_others_not(self, sweep):
        for threshold, mean in ((5, 0.95), (8, 0.94)):
            sweep.arm(around(mean, seed=9), throw=throw(threshold))
            for seed, control in enumerate(CONTROLS):
                values = around(0.94 if control == "deck" else 0.9, seed=seed)
                sweep.arm(values, control=control, throw=throw(threshold))
        sweep.arm(around(0.9, seed=7), control="plain")
        results = sweep.load()
        assert "both were better than plain (1 of them than every control, too)." in headline(
            results
        )
        assert "At threshold 5 dice beat every control, too" in said(results)
        assert "At threshold 8 the gain over plain is not credited to the dice" in said(results)

    @pytest.mark.parametrize(("arms", "words"), [(2, "neither can"), (3, "none can")])
    def test_nothing_found_is_said_of_all(self, sweep, arms, words):
        for threshold in range(2, 2 + arms):
            sweep.arm(around(0.9, seed=threshold), throw=throw(threshold))
        sweep.arm(around(0.9, seed=1), control="plain")
        assert f"{words} be told apart from plain." in headline(sweep.load())

    def test_a_plain_arm_in_some_contexts_only(self, sweep):
        for optimizer in ("sgd", "adamw"):
            sweep.arm(around(0.9), optimizer=optimizer)
        sweep.arm(around(0.9, seed=1), control="plain")
        assert "In some contexts there is no plain arm" in headline(sweep.load())


def test_an_unnamed_sweep(sweep):
    sweep.add(0.9, task={"metric": "m", "unit": "", "mode": "max", "model": "", "data": ""})
    assert title(sweep.load()) == "A sweep"


def test_the_line_of_what_was_left_out(sweep):
    sweep.add(0.9)
    assert left_out_line(sweep.load().sweep) == "Nothing was left out."
    sweep.add(0.9, 1, status="failed")
    sweep.add(0.9, 2, status="failed")
    assert left_out_line(sweep.load().sweep) == "Left out: 2 (failed)."


def test_a_bound_that_is_not_0_does_not_look_like_it(sweep):
    sweep.arm([0.0101, 0.01, 0.0102, 0.0101, 0.05, 0.02], task=LOSS)
    sweep.arm([0.01, 0.0099, 0.0101, 0.01, 0.03, 0.0198], task=LOSS, control="plain")
    results = sweep.load()
    row = results.compared[0, results.families[0].arms[0]]["plain"]
    row = row._replace(ci_low=1e-6, ci_high=0.02, difference=0.01)
    text = against(results.context(0).measure, "plain", kind_of(row), [row])
    assert "CI 0.000001 to 0.020000" in text
