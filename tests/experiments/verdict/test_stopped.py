"""Plain training is looked up where it had the training loss that dice end with."""

import math

import pytest
import stages
from stopped import at_training_loss, same_training_loss

FALLING = [(10, 2.0, 0.5, 3.0), (20, 1.5, 0.6, 1.0), (30, 1.6, 0.7, 0.5)]


@pytest.mark.parametrize(
    ("loss", "column", "step", "value"),
    [(2.0, 1, 15, 1.75), (1.0, 1, 20, 1.5), (0.6, 2, 28, 0.68), (3.0, 2, 10, 0.5)],
)
def test_between_two_points_it_is_in_proportion(loss, column, step, value):
    assert at_training_loss(FALLING, loss, column) == pytest.approx((step, value))


@pytest.mark.parametrize("loss", [0.4, 3.1, math.nan])
def test_what_was_never_reached_is_not_a_number(loss):
    assert all(map(math.isnan, at_training_loss(FALLING, loss, 1)))


def test_the_first_time_counts_and_what_is_no_number_is_passed_over():
    curve = [(10, 1.0, None, 3.0), (20, None, None, None), (30, 2.0, None, 2.0)]
    curve += [(40, 3.0, None, 1.0), (50, 4.0, None, 3.0), (60, 5.0, None, 1.0)]
    assert at_training_loss(curve, 1.5, 1) == pytest.approx((35, 2.5))


def test_dice_are_paired_with_plain_training_of_their_seed():
    """Plain training has 1 + its training loss; dice end 0.03 below 1.2, whatever theirs."""
    made = []

    def row_of(line):
        best = {"t5-skip-model-update-all": 0.5, "plain": 0.9}.get(line["arm"], 1.0)
        offset = 0.001 * line["seed"] if line["seed"] in stages.SEEDS else 0
        ends = {"plain": 0.1, "t5-skip-model-update-all": 0.2}.get(line["arm"], 0.05) + offset
        curve = [(5, 1.5, None, 0.5), (10, 1 + ends, None, ends)]
        if line["arm"] == "t5-skip-model-update-all":
            curve[-1] = (10, 1 + ends - 0.03 - offset, None, ends)
        common = {"diverged": False, "val_accuracy": None, "val_loss": best, "train_loss": ends}
        return {**line, **common, "curve": curve}

    for stage in (stages.tuning, stages.confirming, stages.comparison):
        made += [row_of(line) for line in stage("manual", "sgd", stages.Rows(made))]
        while left := [
            line
            for line in stage("manual", "sgd", stages.Rows(made))
            if not any(line.items() <= row.items() for row in made)
        ]:
            made += [row_of(line) for line in left]
    table = same_training_loss("manual", "sgd", stages.Rows(made)).set_index("arm")
    dice = table.loc["t5-skip-model-update-all"]
    assert dice["pairs"] == 10
    assert dice["train loss"] == pytest.approx(0.2045)
    assert dice["difference"] == pytest.approx(-0.03 - 0.0045)
    assert dice["seeds better"] == 10
    others = table.drop(index="t5-skip-model-update-all")
    assert (others["pairs"] == 0).all(), "plain training never had so low a training loss"
