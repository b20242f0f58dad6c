"""The arms of the study, their learning rates, and what is rolled for them."""

import numpy as np
import pytest
import torch
from arms import (
    Arm,
    all_arms,
    as_they_stand,
    controls_of,
    dice_arms,
    named,
    neighbours,
    regularisers,
    shorter,
)
from factors import factors_of

from lightning_dice.adapters.torch_loop import attach
from lightning_dice.rules import SavingThrow


def test_names_are_unique_and_find_their_arm():
    arms = list(all_arms())
    assert len({arm.name for arm in arms}) == len(arms)
    assert all(named(arm.name) is not None for arm in arms)
    with pytest.raises(ValueError, match="no arm is called 'none'"):
        named("none")


def test_every_combination_is_an_arm():
    arms = dice_arms()
    assert len(arms) == 48
    settings = {(a.throw, a.target, a.scope, a.include) for a in arms}
    assert len(settings) == 48
    assert {arm.throw.odds().mean for arm in arms} == {1}


def test_dice_as_they_stand_are_divided_by_nothing():
    arms = {arm.name: arm for arm in as_they_stand()}
    assert len(arms) == 6
    classic = arms["raw:t15-margin-model-gradient-all"]
    assert (classic.throw, classic.target) == (SavingThrow("d20", 15), "gradient")


def test_controls_match_the_arm_in_what_they_keep():
    arm = named("t10-margin-tensor-gradient-hidden")
    gaussian, deck, rms = controls_of(arm)
    square = arm.throw.odds().mean_square
    assert float(gaussian.throw.odds().mean) == pytest.approx(1)
    assert float(gaussian.throw.odds().mean_square) == pytest.approx(float(square))
    assert (gaussian.target, gaussian.scope, gaussian.include) == ("gradient", "tensor", "hidden")
    assert (deck.throw, deck.draws) == (arm.throw, "deck")
    raw = SavingThrow("d20", 10).odds()  # E[s^2] over E[s]^2
    assert rms.lr_factor == pytest.approx(float(raw.mean_square) ** 0.5 / float(raw.mean))
    assert rms.throw is None


def test_dice_and_dropout_at_once():
    arm = named("t10-skip-tensor-update-hidden+dropout-0.2")
    assert arm.dropout == 0.2
    assert arm.throw == named("t10-skip-tensor-update-hidden").throw


def test_the_neighbours_and_the_plain_arms():
    skip, magma = neighbours()
    assert [float(f or 0) for f in skip.throw.factors] == [0, 2]
    assert [float(f or 0) for f in magma.throw.factors] == [0, 1]
    assert {a.dropout for a in regularisers()} == {0, 0.1, 0.2, 0.3}
    assert {a.weight_decay for a in regularisers()} == {None, 0, 0.1, 0.3, 1.0}
    assert [arm.steps(1000) for arm in shorter()] == [250, 500, 750]


@pytest.mark.parametrize("scope", ["model", "tensor"])
@pytest.mark.parametrize("include", ["all", "hidden"])
@pytest.mark.parametrize("draws", ["independent", "deck"])
def test_factors_are_what_attached_dice_roll(scope, include, draws, images):
    network = images.network
    layout = network.layout
    chosen = layout.chosen(network.hidden)
    arm = Arm("", SavingThrow("d20", 10, "skip"), scope=scope, include=include, draws=draws)
    module = network.build()
    own = dict(module.named_parameters())
    optimizer = torch.optim.SGD([own[name] for name in layout.names], lr=0.1)
    patterns = network.hidden if include == "hidden" else None
    settings = {"scope": scope, "include": patterns, "draws": draws, "seed": 5}
    expected = np.ones((60, len(layout)))
    with attach(optimizer, arm.throw, **settings, model=module) as dice:
        for step in range(60):
            for parameter in own.values():
                parameter.grad = torch.zeros_like(parameter)
            optimizer.step()
            rolls = dice.last_roll if scope == "tensor" else [dice.last_roll] * len(layout)
            hit = [i for i in range(len(layout)) if include == "all" or chosen[i]]
            rolls = dict(zip(hit, rolls, strict=False))
            for slot, roll in rolls.items():
                expected[step, slot] = np.nan if roll.scale is None else roll.scale
    factors = np.broadcast_to(factors_of(arm, chosen, 5, 60), expected.shape)
    np.testing.assert_array_equal(factors, expected)


def test_magma_is_its_coin_until_it_has_gradients(images):
    chosen = images.network.layout.chosen(images.network.hidden)
    factors = factors_of(named("magma"), chosen, 0, 400)
    assert (factors[:, ~np.array(chosen)] == 1).all()
    kept = ~np.isnan(factors[:, chosen])
    assert kept.mean() == pytest.approx(0.5, abs=0.05)
