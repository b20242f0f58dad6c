"""Scale 1: training is bit-identical to training without the callback."""

import random

import numpy as np
import pytest
import torch
from lightning.pytorch import seed_everything

from lightning_dice import SavingThrow, SavingThrowCallback
from support.toy import OPTIMIZERS, Toy, fit, same

FULL = SavingThrow("d4", 2, [1.0] * 4)


def state():
    return torch.random.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()


class Dropout(Toy):
    """Draws from the global generator in every step."""

    def training_step(self, batch, batch_idx):
        return super().training_step((torch.dropout(batch[0], 0.5, True), batch[1]), batch_idx)


def run(optimizer, callbacks, **settings):
    seed_everything(4, verbose=False)
    model = Dropout(optimizer)
    trainer = fit(model, callbacks, max_steps=20, **settings)
    return model, trainer.optimizers[0].state_dict(), state()


@pytest.mark.filterwarnings("ignore:gradient clipping comes after the rolls")
@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
@pytest.mark.parametrize("granularity", ["per_accumulation_step", "per_mini_batch"])
@pytest.mark.parametrize("clip", [None, 0.1])
@pytest.mark.parametrize("accumulate", [1, 3])
def test_it_is_training_without_the_callback(optimizer, granularity, clip, accumulate):
    settings = {"gradient_clip_val": clip, "accumulate_grad_batches": accumulate}
    callback = SavingThrowCallback(FULL, granularity=granularity, seed=0)
    diced, diced_state, diced_random = run(optimizer, [callback], **settings)
    plain, plain_state, plain_random = run(optimizer, [], **settings)
    assert callback.rolls.tally.rolls > 0
    assert same(diced.weights(), plain.weights())
    assert diced.losses == plain.losses
    assert str(diced_state) == str(plain_state)
    assert torch.equal(diced_random[0], plain_random[0])
    assert np.array_equal(diced_random[1], plain_random[1])
    assert diced_random[2] == plain_random[2]


@pytest.mark.parametrize("seed", [0, None])
def test_global_random_state_is_untouched_whatever_is_rolled(seed):
    seed_everything(4, verbose=False)
    fit(Toy(), [SavingThrowCallback(SavingThrow(), seed=seed)])
    with_dice = state()
    seed_everything(4, verbose=False)
    fit(Toy())
    without = state()
    assert torch.equal(with_dice[0], without[0])
    assert np.array_equal(with_dice[1], without[1])
    assert with_dice[2] == without[2]
