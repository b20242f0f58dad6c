"""Every lesson can be played to its end, and what its answer says is so."""

import re
from fractions import Fraction
from urllib.parse import parse_qsl

import numpy as np
import pytest

from lightning_dice.playground.lessons import LESSONS
from lightning_dice.rules import SavingThrow

BY_ID = {lesson.id: lesson for lesson in LESSONS}
NAMES = [pytest.param(lesson, id=lesson.id) for lesson in LESSONS]


@pytest.mark.parametrize("lesson", NAMES)
def test_it_is_played_to_its_end(visit, lesson):
    with visit("speed=240", reduced_motion="reduce") as page:
        page.get_by_role("navigation").get_by_role("button", name=lesson.short).click()
        article = page.locator(f"#{lesson.id}")
        assert article.get_by_role("heading", name=lesson.title).is_visible()
        answer = article.locator("details p")
        assert not answer.first.is_visible()

        article.get_by_role("button", name=f"Play {lesson.steps} steps").click()
        ended(page, lesson.steps)
        before = race(page)
        article.get_by_role("button", name=lesson.button).click()
        ended(page, lesson.steps)
        after = race(page)
        assert changed(before, after) == dict(values(lesson.attempt))

        article.get_by_text("Reveal the answer").click()
        assert answer.first.is_visible()
        assert answer.all_inner_texts() == list(lesson.answer)
        page.wait_for_function(f"location.hash.includes('lesson={lesson.id}')")
        assert page.locator("#said").inner_text() in (
            f"{lesson.steps} steps played.",
            page.evaluate("document.getElementById('said').textContent"),
        )


def ended(page, steps):
    page.wait_for_function(
        "(steps) => { const r = lightningDice.race; return r.over || r.steps === steps }", arg=steps
    )
    page.wait_for_function("document.getElementById('play').textContent === 'Play'")


def race(page):
    return page.evaluate("({ ...lightningDice.race.settings })")


def changed(before, after):
    return {key: value for key, value in after.items() if before[key] != value}


def values(address):
    for key, text in parse_qsl(address, keep_blank_values=True):
        yield key, text if key == "seed" or not re.fullmatch(r"-?[\d.]+", text) else float(text)


@pytest.fixture(scope="module")
def played(raced):
    """The race of a lesson and the one that it has tried, with other settings if need be."""

    def played(name, steps=None, **more):
        lesson = BY_ID[name]
        preset = dict(values(lesson.preset)) | more
        tried = preset | dict(values(lesson.attempt))
        return [raced(given, steps or lesson.steps) for given in (preset, tried)]

    return played


SEEDS = pytest.mark.parametrize("seed", ["0", "1", "2", "4", "5"])


def loss(race, runner):
    return race[runner]["losses"][-1]


def test_presets_ask_for_what_there_is(core):
    for lesson in LESSONS:
        for address in (lesson.preset, f"{lesson.preset}&{lesson.attempt}"):
            parse = "(a) => lightningDice.parse(lightningDice.spec, a).said"
            assert core.evaluate(parse, address) == []


def test_fractions_in_answers_are_the_rules_own():
    said = {
        "saving-throw": [SavingThrow("d20", 10), SavingThrow("d20", 5)],
        "threshold-15": [SavingThrow("d20", 15), SavingThrow("d20", 15, "skip")],
        "same-mean": [SavingThrow("d20", 13)],
    }
    for lesson in LESSONS:
        fractions = re.findall(r"E\[s\] is (\d+/\d+)|and (\d+/\d+), which", " ".join(lesson.answer))
        found = [Fraction(first or second) for first, second in fractions]
        assert found == [throw.odds().mean for throw in said.get(lesson.id, [])]


def test_the_first_lesson_shows_all_four_outcomes_and_arrives_later(played):
    hard, easy = played("saving-throw")
    assert {roll["outcome"] for roll in hard["rolls"]} == set(hard["observed"]["outcomes"])
    assert loss(hard, "plain") < loss(easy, "dice") < loss(hard, "dice") < hard["dice"]["losses"][0]
    assert any(roll["scale"] is not None and roll["scale"] < 0 for roll in hard["rolls"])


@SEEDS
def test_threshold_15_goes_nowhere_and_skip_learns(played, seed):
    """Two hundred steps are worth about seven, which leave the long axis where it was."""
    invert, skip = played("threshold-15", seed=seed)
    worth = sum(roll["scale"] or 0 for roll in invert["rolls"])
    assert abs(worth - 7) < 4 * (200 * 0.333) ** 0.5  # four standard deviations
    if seed == "0":
        assert loss(invert, "dice") > 0.9 * 0.5 * 3.4**2
    assert loss(skip, "dice") < 0.5 < loss(invert, "dice") * 2


def test_adamw_goes_forwards_almost_in_full_whatever_is_rolled(played):
    gradient, update = played("adamw")
    arrived = [roll["arrived"] for roll in gradient["rolls"]]
    inverted = [roll["arrived"] for roll in gradient["rolls"] if (roll["scale"] or 0) < 0]
    assert sum(a > 0.5 for a in arrived if a) > 0.75 * len(arrived)
    assert sum(a > 0 for a in inverted) > 0.8 * len(inverted)
    for roll in update["rolls"]:
        assert roll["arrived"] == pytest.approx(roll["scale"] or 0, abs=1e-9)


def test_clipping_leaves_the_sign_alone(played):
    naive, first = played("clipping")
    for roll, loss_before in zip(naive["rolls"], naive["dice"]["losses"], strict=False):
        steep = loss_before > 5 and abs(roll["scale"] or 0) > 0.1
        if steep:
            assert roll["arrived"] == pytest.approx(1 if roll["scale"] > 0 else -1, abs=1e-4)
    assert sum(abs(roll["arrived"]) > 0.99 for roll in naive["rolls"]) > 20
    for roll in first["rolls"]:
        assert roll["arrived"] == pytest.approx(roll["scale"] or 0, abs=1e-9)
    assert loss(naive, "dice") > loss(first, "dice")


def test_a_zero_gradient_rolls_on_and_a_discard_does_not(played):
    zero, out = played("discard")
    discarded = [roll for roll in zero["rolls"] if roll["scale"] is None]
    assert len(discarded) > 30
    moving = [roll for roll in discarded if abs(roll["arrived"]) > 0.05]
    assert len(moving) > 0.8 * len(discarded)
    for step, roll in enumerate(out["rolls"]):
        if roll["scale"] is None:
            assert roll["arrived"] == 0
            assert out["dice"]["path"][step] == out["dice"]["path"][step + 1]


@SEEDS
def test_dice_stay_on_the_ridge_and_noise_leaves_it(played, seed):
    alone, noisy = played("saddle", seed=seed)
    for runner in ("plain", "dice"):
        assert all(y == 0 for _x, y in alone[runner]["path"])
    away = {
        runner: next(
            (step for step, (_x, y) in enumerate(noisy[runner]["path"]) if abs(y) > 0.5), 10**9
        )
        for runner in ("plain", "dice")
    }
    assert away["plain"] < away["dice"]


@SEEDS
def test_the_same_mean_step_ends_where_the_dice_do_until_they_are_normalized(played, seed):
    dice, normalized = played("same-mean", seed=seed)
    assert 0.2 < loss(dice, "dice") / loss(dice, "mean") < 5
    np.testing.assert_allclose(normalized["mean"]["path"], normalized["plain"]["path"])
    assert normalized["plain"]["stopped"] is None
    assert normalized["dice"]["stopped"] is not None
    longest = max(abs(roll["scale"] or 0) for roll in normalized["rolls"])
    assert longest > 3
