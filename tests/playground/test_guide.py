"""The answers of the teacher's guide are so."""

import statistics

import pytest

from lightning_dice.rules import SavingThrow


def odds(threshold):
    return SavingThrow("d20", threshold).odds()


def test_how_long():
    assert str(odds(10).mean) == "129/400"
    assert round(100 / odds(10).mean) == 310


def test_the_highest_threshold_that_goes_somewhere():
    assert [str(odds(t).mean) for t in (14, 15, 16)] == ["41/400", "7/200", "-3/80"]
    assert [round(float(odds(t).efficiency), 3) for t in (13, 14)] == [0.08, 0.031]
    assert 12 <= 1 / odds(13).efficiency < 13


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam", "adamw"])
def test_who_has_a_memory(raced, optimizer):
    firsts = [
        raced({"optimizer": optimizer, "seed": str(seed)}, 1)["rolls"][0] for seed in range(60)
    ]
    for roll in firsts:
        expected = roll["scale"] or 0
        if optimizer.startswith("adam") and expected:
            expected = 1 if expected > 0 else -1  # weight decay adds 5 % of a step here
        assert roll["arrived"] == pytest.approx(expected, abs=0.06)
    later = raced({"optimizer": optimizer}, 100)["rolls"][1:]
    obeys = all(roll["arrived"] == pytest.approx(roll["scale"] or 0) for roll in later)
    assert obeys == (optimizer == "sgd")
    if optimizer == "momentum":
        inverted = [roll["arrived"] for roll in later if (roll["scale"] or 0) < 0]
        assert sum(arrived > 0 for arrived in inverted) > len(inverted) / 2
    updates = raced({"optimizer": optimizer, "target": "update"}, 20)["rolls"]
    assert [roll["arrived"] for roll in updates] == pytest.approx(
        [roll["scale"] or 0 for roll in updates], abs=1e-9
    )


LEFT = """([threshold, noise, steps]) => {
  const { Race, complete, spec, tables } = window.lightningDice;
  const ridge = { surface: "saddle", lr: 0.05, x: -2, y: 0 };
  return Array.from({ length: 20 }, (_, seed) => {
    const race = new Race(tables, complete(spec, { ...ridge, threshold, noise, seed: `${seed}` }));
    while (race.steps < steps && Math.abs(race.runners.dice.weights[1]) <= 0.5) race.advance();
    return race.steps;
  });
}"""


def test_off_the_ridge(core):
    def left(threshold, noise, steps):
        return statistics.median(core.evaluate(LEFT, [threshold, noise, steps]))

    assert left(10, 0.05, 1000) == pytest.approx(310, abs=10)
    assert left(13, 0.05, 2000) == pytest.approx(550, abs=15)
    assert left(15, 0.05, 5000) == pytest.approx(2500, abs=100)
    assert 10 < left(10, 0.5, 1000) < left(10, 0.05, 1000) < 10 * left(10, 0.5, 1000)
    assert set(core.evaluate(LEFT, [16, 0.05, 5000])) == {5000}


def test_dice_win_where_the_learning_rate_is_too_large(raced):
    for seed in range(20):
        race = raced({"optimizer": "sgd", "lr": 0.079, "seed": str(seed)}, 200)
        assert race["dice"]["losses"][-1] < race["plain"]["losses"][-1]
        assert race["mean"]["losses"][-1] < race["plain"]["losses"][-1]
