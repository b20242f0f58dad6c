"""The page's rolls, outcomes, scales and odds are those of the Python core."""

import math
from fractions import Fraction

import pytest

from lightning_dice.playground.tables import DICE
from lightning_dice.rules import SCALINGS, Outcome, Roller, SavingThrow, SettingError

STEPS = 300
SEEDS = (0, 1, 2**32 + 5, 2**53 + 1, 2**64 - 1)


@pytest.mark.parametrize("die", DICE)
@pytest.mark.parametrize("seed", SEEDS)
def test_rolls_of_a_seed(raced, die, seed):
    rolls = raced({"die": die, "seed": str(seed), "threshold": 3, "lr": 1e-5}, STEPS)["rolls"]
    roller = Roller(SavingThrow(die, 3), seed)
    for step, seen in enumerate(rolls):
        roll = roller.roll(step)
        assert (seen["natural"], seen["total"]) == (roll.natural, roll.total)
        assert (seen["outcome"], seen["scale"]) == (roll.outcome, roll.scale)
    assert len(rolls) == STEPS


@pytest.mark.parametrize("sides", [6, 20, 10_000])
def test_a_word_that_would_favour_faces_is_thrown_away(core, sides):
    top = 2**64 - 2**64 % sides
    shown = core.evaluate(
        "([words, sides]) => words.map((w) => lightningDice.face(BigInt(w), sides))",
        [[str(word) for word in (0, sides - 1, top - 1, top, 2**64 - 1)], sides],
    )
    assert shown == [1, sides, sides, None, None]


@pytest.mark.parametrize("normalize", ["none", "mean", "rms"])
@pytest.mark.parametrize("die", DICE)
def test_every_saving_throw(core, die, normalize):
    seen = core.evaluate(
        """([die, normalize]) => {
          const { Throw, tables } = window.lightningDice;
          return tables.dice[die].thresholds.map((_, at) => Object.fromEntries(
            tables.scalings.map((scaling) => [
              scaling, { ...new Throw(tables, { die, threshold: at + 1, scaling, normalize }) },
            ])));
        }""",
        [die, normalize],
    )
    assert len(seen) == SavingThrow(die, 1).die.max_total
    for threshold, by_scaling in enumerate(seen, start=1):
        assert set(by_scaling) == set(SCALINGS)
        for scaling, page in by_scaling.items():
            try:
                throw = SavingThrow(die, threshold, scaling, normalize)
            except SettingError:
                assert not page["normalizable"]
                throw = SavingThrow(die, threshold, scaling)
            check(page, throw, exact=normalize != "rms")


def check(page, throw, exact):
    rolls = [throw.resolve(natural) for natural in throw.die.faces]
    odds = throw.odds()
    assert page["outcomes"] == [roll.outcome for roll in rolls]
    for seen, roll in zip(page["scales"], rolls, strict=True):
        # A root is no fraction: divided by it once more than by the core, the last bit may differ.
        assert seen == (roll.scale if exact else near(roll.scale))
    assert page["chances"] == [float(throw.die.chance(natural)) for natural in throw.die.faces]
    assert page["probability"] == {str(o): float(odds.probability[o]) for o in Outcome}
    assert page["mean"] == near(odds.mean)
    assert page["square"] == near(odds.mean_square)
    assert page["efficiency"] == near(odds.efficiency)


def near(value: Fraction | float | None):
    return None if value is None else pytest.approx(float(value), rel=4e-16 * 2, abs=0)


def test_what_is_observed_is_what_was_rolled(raced):
    race = raced({"threshold": 8}, 500, {200: {"threshold": 12}})
    since = race["rolls"][200:]
    observed = race["observed"]
    assert observed["rolls"] == 300
    for outcome in Outcome:
        assert observed["outcomes"][outcome] == sum(roll["outcome"] == outcome for roll in since)
    for face in range(1, 21):
        assert observed["faces"][face - 1] == sum(roll["natural"] == face for roll in since)
    assert observed["scales"] == pytest.approx(math.fsum(roll["scale"] or 0 for roll in since))
