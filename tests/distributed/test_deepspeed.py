"""Mini-batches under DeepSpeed, whose engine makes backward and step itself.

DeepSpeed compiles parts of itself when it is first used, and is no part of the development
environment: these run where it is installed.
"""

import pytest

from distributed.cases import DEEPSPEED, DICE
from distributed.group import train
from distributed.reference import NEAR, by_hand, check, distance, one_process

pytest.importorskip("deepspeed")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    return train(tmp_path_factory.mktemp("deepspeed"), 2, DEEPSPEED, DS_ACCELERATOR="cpu")


@pytest.mark.parametrize("stage", [0, 1, 2, 3])
class TestEveryStage:
    def test_two_processes_do_what_one_does(self, ranks, stage):
        for dice in ("plain", "mini_batch"):
            weights, rolls = one_process(DICE[dice])
            assert distance(check(ranks[f"stage{stage}-{dice}"]), weights) < NEAR
            assert [tuple(roll) for roll in ranks[f"stage{stage}-{dice}"][0]["rolls"]] == rolls

    def test_each_may_roll_for_its_own_mini_batch(self, ranks, stage):
        assert distance(check(ranks[f"stage{stage}-mini_batch_apart"]), by_hand(2)) < NEAR

    def test_a_discarded_mini_batch_adds_nothing_even_if_it_is_no_number(self, ranks, stage):
        apart = check(ranks[f"stage{stage}-mini_batch_apart"])
        assert check(ranks[f"stage{stage}-nans"]) == apart

    def test_a_discarded_step_is_one_for_every_parameter_group(self, ranks, stage):
        assert distance(check(ranks[f"stage{stage}-groups"]), by_hand(2)) < NEAR

    def test_windows_of_several_mini_batches(self, ranks, stage):
        expected = by_hand(2, accumulate=2, epochs=2)
        assert distance(check(ranks[f"stage{stage}-pairs"]), expected) < NEAR

    def test_dice_send_no_message(self, ranks, stage):
        plain = ranks[f"stage{stage}-plain"][0]["messages"]
        assert plain[-1] > 0
        for dice in ("mini_batch", "mini_batch_apart"):
            assert ranks[f"stage{stage}-{dice}"][0]["messages"] == plain


@pytest.mark.parametrize("target", ["gradient", "update"])
def test_rolls_for_optimizer_steps_are_refused(ranks, target):
    for rank in ranks[f"refused-{target}"]:
        assert "use granularity='per_mini_batch', or strategy=" in rank["error"]
