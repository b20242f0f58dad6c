"""A discard: weights, optimizer state and step counts bit-identical before and after."""

import pytest
import torch

from lightning_dice import SavingThrow, SavingThrowCallback
from support.reference import train
from support.toy import OPTIMIZERS, Toy, fit, same

NOTHING = SavingThrow("d4", 2, [None] * 4)
SOME = SavingThrow("d20", 10, scaling="skip")


def flat(state):
    return {
        (key, name): value
        for key, entries in state["state"].items()
        for name, value in entries.items()
    }


@pytest.mark.filterwarnings("ignore:.*every roll discards")
@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
@pytest.mark.parametrize("clip", [None, 1.0])
def test_a_run_of_discards_changes_nothing(optimizer, clip):
    model = Toy(optimizer)
    before = model.weights()
    trainer = fit(model, [SavingThrowCallback(NOTHING, seed=0)], gradient_clip_val=clip)
    assert same(model.weights(), before)
    assert trainer.optimizers[0].state_dict()["state"] == {}
    assert trainer.global_step == 10, "schedules and logs go on"


@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_state_is_that_of_the_kept_steps_alone(optimizer):
    steps, callback, model = 40, SavingThrowCallback(SOME, seed=3), Toy(optimizer)
    trainer = fit(model, [callback], max_steps=steps)
    scales = [record.scale for record in callback.rolls.recent]
    assert 5 < scales.count(None) < 35
    weights, state = train(optimizer, steps, scales)
    assert same(model.weights(), weights)
    ours = flat(trainer.optimizers[0].state_dict())
    assert ours.keys() == flat(state).keys()
    assert all(torch.equal(ours[k], v) for k, v in flat(state).items() if v is not None)


@pytest.mark.filterwarnings("ignore:.*every roll discards or has scale 0")
def test_a_scale_of_zero_is_not_a_discard():
    kept = Toy(OPTIMIZERS["adamw"])
    before = kept.weights()
    fit(kept, [SavingThrowCallback(SavingThrow("d4", 2, [0.0] * 4), seed=0)])
    assert not same(kept.weights(), before), "weight decay moves weights on a zero gradient"
