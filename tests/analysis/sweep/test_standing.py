"""One count of what became of the dice, which tiles, titles and sentences share."""

import re

import numpy as np
import pytest

from lightning_dice.analysis.facts import NONE
from lightning_dice.analysis.phrases import MINUS, NBSP
from lightning_dice.analysis.sweep.headline import headline, numbers
from lightning_dice.analysis.sweep.plots import thresholds
from lightning_dice.analysis.sweep.report import write_sweep_report
from lightning_dice.analysis.sweep.standing import NOT_LEARNED, dice_rows, standing
from lightning_dice.analysis.sweep.statistics import BETTER, NO_TEST, OPEN, TOO_FEW, WORSE
from lightning_dice.analysis.sweep.verdict import verdicts
from lightning_dice.rules import SavingThrow

LOSS = {"metric": "val_loss", "unit": "nats/byte", "mode": "min"}
TILES = ("better than plain", "level with plain", "worse than plain", NOT_LEARNED)


def around(mean, n, seed=0, spread=0.004):
    noise = np.random.default_rng(seed).standard_normal(n)
    return list(mean + spread * (noise - noise.mean()))


def fill(sweep, finals, plain=0.99, n=2, **more):
    for threshold, mean in finals.items():
        values = around(mean, n, threshold)
        sweep.arm(values, throw=SavingThrow("d20", threshold), **more)
    if plain is not None:
        sweep.arm(around(plain, n, 99), control="plain", **more)
    return sweep.load()


def standings(results):
    return [standing(results, row) for row in dice_rows(results)]


def words(text):
    return text.replace(NBSP, " ").replace(MINUS, "-")


def tiles(results):
    return {tile.label: tile for tile in numbers(results)}


def add_up(results):
    """How many arms the tiles of the verdict count."""
    shown = list(tiles(results).values())[3:]
    return sum(int(tile.value) for tile in shown if tile.value != NONE)


def everything(results):
    told = [" ".join([v.heading, v.opening, *v.points]) for v in verdicts(results)]
    drawn = [drawing.message for drawing in thresholds(results)]
    return words(" ".join([headline(results), *told, *drawn]))


def test_a_collapse_with_two_seeds_did_not_learn_and_the_rest_is_open(sweep):
    results = fill(sweep, {5: 0.98, 10: 0.985, 15: 0.1}, n=2)
    assert standings(results) == [TOO_FEW, TOO_FEW, NOT_LEARNED]
    first, second, *_ = re.split(r"(?<=\.) (?=[A-Z0-9])", words(headline(results)))
    assert first == (
        "1 of 3 arms with dice (threshold 15) did not learn: 10.0 % against 99.0 % of plain "
        "training."
    )
    assert second == "With 2 seeds nothing else can be said; 4 or more are needed."
    shown = tiles(results)
    assert [shown[name].value for name in TILES] == [NONE, NONE, NONE, "1"]
    assert (shown["too few seeds"].value, add_up(results)) == ("2", 3)
    (drawing,) = thresholds(results)
    assert words(drawing.message) == (
        "2 of 3 arms with dice learned, 1 did not; too few seeds to say more"
    )


@pytest.mark.parametrize("n", [1, 2, 3])
def test_below_four_seeds_nothing_is_better_worse_or_level(sweep, n):
    results = fill(sweep, {5: 0.5, 10: 0.98, 15: 0.1}, plain=0.9, n=n)
    assert standings(results) == [TOO_FEW, TOO_FEW, NOT_LEARNED]
    text = everything(results)
    for word in ("better than", "worse than", "told apart", "confirmed", "p =", "p under"):
        assert word not in text
    seeds = "1 seed" if n == 1 else f"{n} seeds"
    assert f"With {seeds} nothing else can be said; 4 or more are needed." in text


def test_without_a_collapse_the_seeds_are_too_few_to_say(sweep):
    results = fill(sweep, {5: 0.98, 10: 0.97}, n=3)
    assert words(headline(results)).startswith(
        "With 3 seeds it cannot be said whether dice are better or worse than plain training; 4 or "
        "more are needed."
    )
    assert add_up(results) == 2


@pytest.mark.parametrize("n", [4, 10])
def test_a_confirmed_collapse_is_counted_once(sweep, n):
    results = fill(sweep, {5: 0.99, 10: 0.6, 15: 0.1}, n=n)
    assert standings(results) == [OPEN, WORSE, NOT_LEARNED]
    findings = [row["plain"].finding for row in results.compared.values()]
    assert findings == [OPEN, WORSE, WORSE]
    assert [tiles(results)[name].value for name in TILES] == ["0", "1", "1", "1"]
    assert add_up(results) == 3
    text = words(headline(results))
    assert text.startswith("1 of 3 arms with dice (threshold 15) did not learn: 10.0 % against 99.")
    assert "2 of 3 arms with dice learned; of these 1 was worse than plain and 1 cannot be" in text
    (drawing,) = thresholds(results)
    assert drawing.message == (
        "2 of 3 arms with dice learned, 1 did not; 0 better than plain, 1 worse"
    )


def test_a_collapse_of_a_loss(sweep):
    results = fill(sweep, {5: 1.5, 10: 3.99, 15: 4.4}, plain=1.4, n=2, task=LOSS, baseline=4.0)
    assert standings(results) == [TOO_FEW, NOT_LEARNED, NOT_LEARNED]
    assert words(headline(results)).startswith(
        "2 of 3 arms with dice (thresholds 10 and 15) did not learn: 3.99 to 4.40 nats/byte "
        "against 1.40 nats/byte of plain training."
    )


def test_where_nothing_learned_plain_is_said_to_have_failed_too(sweep):
    results = fill(sweep, {5: 0.09, 10: 0.08, 15: 0.07}, plain=0.095, n=2)
    assert standings(results) == [NOT_LEARNED] * 3
    text = words(headline(results))
    assert text.startswith("No arm with dice learned: 7.0 to 9.0 %; nor did plain training")
    assert "against" not in text


def test_a_plain_that_is_no_better_than_chance_measures_nothing(sweep):
    sweep.arm([0.098, 0.103, 0.097, 0.104], control="plain")
    sweep.arm([0.1, 0.101, 0.1, 0.102], throw=SavingThrow("d20", 5))
    sweep.arm([0.9, 0.92, 0.91, 0.93], throw=SavingThrow("d20", 6))
    results = sweep.load()
    plain, *dice = sorted(results.summaries.values(), key=lambda row: row.mean)
    assert [row.learned for row in (plain, *dice)] == [False, False, True]


def test_without_plain_dice_are_not_held_against_it(sweep):
    results = fill(sweep, {5: 0.9, 10: 0.05}, plain=None, n=4)
    assert standings(results) == [NO_TEST, NOT_LEARNED]
    text = words(headline(results))
    assert text.startswith(
        "1 of 2 arms with dice (threshold 10) did not learn: 5.0 %, where the baseline is 10.0 %."
    )
    assert tiles(results)["no verdict"].value == "1"
    assert add_up(results) == 2


def test_without_a_baseline_nobody_is_said_to_have_failed(sweep):
    results = fill(sweep, {5: 0.9, 10: 0.05}, n=2, baseline=None)
    assert standings(results) == [TOO_FEW, TOO_FEW]
    assert "learn" not in headline(results)
    (drawing,) = thresholds(results)
    assert drawing.message == "2 arms with dice; too few seeds to say more"


def test_without_a_baseline_enough_seeds_still_say_worse(sweep):
    results = fill(sweep, {5: 0.9, 10: 0.05}, n=5, baseline=None)
    assert standings(results) == [WORSE, WORSE]


def test_an_arm_that_mostly_diverged_did_not_learn(sweep):
    sweep.arm(around(0.95, 6), control="plain")
    for threshold, finals in ((5, [0.9, None, None, None]), (6, [0.95, None, 0.93, 0.95, 0.94])):
        sweep.arm(finals, throw=SavingThrow("d20", threshold))
    results = sweep.load()
    assert standings(results)[0] == NOT_LEARNED
    assert standings(results)[1] != NOT_LEARNED
    text = words(headline(results))
    assert "(threshold 5) did not learn: 3 of 4 runs diverged." in text
    assert "4 of 9 runs with dice diverged; no mean includes them." in text


def test_pairs_count_not_seeds(sweep):
    """Ten seeds of each, of which three are shared, are three pairs."""
    sweep.arm(around(0.9, 10), throw=SavingThrow("d20", 5))
    for seed, value in enumerate(around(0.95, 10)):
        sweep.add(value, seed + 7, control="plain")
    assert standings(sweep.load()) == [TOO_FEW]


def test_few_and_many_seeds_beside_each_other(sweep):
    sweep.arm(around(0.99, 6, 99), control="plain")
    for threshold, mean, n in ((5, 0.98, 2), (10, 0.6, 6), (15, 0.1, 2)):
        sweep.arm(around(mean, n, threshold), throw=SavingThrow("d20", threshold))
    results = sweep.load()
    assert standings(results) == [TOO_FEW, WORSE, NOT_LEARNED]
    text = words(headline(results))
    assert "of these 1 was worse than plain and 1 has too few seeds to say" in text
    (drawing,) = thresholds(results)
    assert drawing.message == (
        "2 of 3 arms with dice learned, 1 did not; 0 better than plain, 1 worse, 1 with too few "
        "seeds"
    )
    assert add_up(results) == 3


def test_several_contexts_add_up(sweep):
    for optimizer, plain in (("sgd", 0.99), ("adamw", 0.08)):
        fill(sweep, {5: 0.98, 15: 0.07}, plain=plain, n=5, optimizer=optimizer)
    results = sweep.load()
    assert sorted(standings(results)) == sorted([BETTER, WORSE, NOT_LEARNED, NOT_LEARNED])
    assert add_up(results) == 4
    text = words(headline(results))
    assert "1 of 4 arms with dice (threshold 15) did not learn: 7.0 % against 99.0 % of" in text
    assert "1 of 4 arms with dice (threshold 15) did not learn: 7.0 %; nor did plain" in text


def test_page_terminal_and_pictures_agree(sweep, page_text):
    results = fill(sweep, {5: 0.98, 10: 0.97, 15: 0.1}, n=2)
    text = words(page_text(write_sweep_report(sweep.path)).text)
    assert words(headline(results)) in text
    for wrong in ("worse than plain 0", "0 worse", "none can be told apart", "109", "CI"):
        assert wrong not in text.replace("95 % CI", "")
    assert "too few seeds" in text


class TestIntervalsOfWhatIsPossible:
    def row(self, sweep):
        results = sweep.load()
        return next(row for row in results.summaries.values())

    def test_an_accuracy_ends_at_1(self, sweep):
        sweep.arm([0.9999, 0.93, 0.9998, 0.97])
        row = self.row(sweep)
        assert row.ci_high == 1.0
        assert 0 < row.ci_low < row.mean

    def test_an_accuracy_begins_at_0(self, sweep):
        sweep.arm([0.0, 0.08, 0.01, 0.0])
        row = self.row(sweep)
        assert (row.ci_low, row.ci_high > row.mean) == (0.0, True)

    def test_a_loss_begins_at_0(self, sweep):
        sweep.arm([0.001, 0.5, 0.002, 0.01], task=LOSS, baseline=4.0)
        row = self.row(sweep)
        assert row.ci_low == 0.0

    def test_a_loss_that_has_been_below_0_may_be_anything(self, sweep):
        sweep.arm([-0.5, 0.5, 0.002, 0.01], task=LOSS, baseline=4.0)
        assert self.row(sweep).ci_low < 0

    def test_what_is_no_share_has_no_end(self, sweep):
        sweep.arm([1.0, 97.0, 60.0, 99.0])
        assert self.row(sweep).ci_high > 99

    def test_a_score_of_ones_own_has_no_end(self, sweep):
        task = {"metric": "score", "unit": "points", "mode": "max"}
        sweep.arm([0.0, 9.0, 0.1, 0.2], task=task)
        assert self.row(sweep).ci_low < 0

    def test_a_difference_of_accuracies_is_no_larger_than_1(self, sweep):
        sweep.arm([0.0, 0.0, 0.3, 0.0])
        sweep.arm([1.0, 1.0, 0.6, 1.0], control="plain")
        (row,) = (rows["plain"] for rows in sweep.load().compared.values())
        assert row.ci_low == -1.0
        assert row.difference == pytest.approx(-0.825)

    def test_error_bars_are_those_of_the_tables(self, sweep):
        for threshold in (5, 8):
            values = [0.9999, 0.93, 0.9998, 0.97]
            sweep.arm(values, throw=SavingThrow("d20", threshold))
        (drawing,) = thresholds(sweep.load())
        bands = drawing.figure().axes[0].collections
        tops = [path.vertices[:, 1].max() for band in bands for path in band.get_paths()]
        assert max(tops) <= 1.0
