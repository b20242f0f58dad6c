"""The dice in a loop of accelerate, with accumulation and clipping as its documentation has it."""

import pytest

from lightning_dice.adapters.torch_loop import attach
from lightning_dice.records import read_rolls
from support.by_hand import SEED, THROW, apart, factor
from support.reference import clip_by_norm, train
from support.toy import data, loss_of, momentum, network

accelerate = pytest.importorskip("accelerate")
CLIP = 0.5


@pytest.fixture
def accelerator():
    yield accelerate.Accelerator(cpu=True, gradient_accumulation_steps=2)
    accelerate.state.AcceleratorState._reset_state(reset_partial_state=True)
    accelerate.state.GradientState._reset_state()


@pytest.mark.parametrize("attached", ["before prepare", "after prepare"])
def test_a_loop_clips_then_rolls(accelerator, attached, tmp_path):
    net = network()
    plain = momentum(net.parameters())
    settings = {"seed": SEED, "folder": tmp_path, "model": net}
    if attached == "before prepare":
        dice = attach(plain, THROW, **settings)
    model, optimizer = accelerator.prepare(net, plain)
    if attached == "after prepare":
        dice = attach(optimizer, THROW, **settings)
    for batch in data():
        with accelerator.accumulate(model):
            accelerator.backward(loss_of(model, batch))
            if accelerator.sync_gradients:
                accelerator.clip_grad_norm_(model.parameters(), CLIP)
            optimizer.step()
            optimizer.zero_grad()
    dice.remove()
    factors = [factor(step) for step in range(6)]
    clip = clip_by_norm(CLIP)
    expected, state = train(momentum, 6, step_scales=factors, accumulate=2, clip=clip)
    assert apart(net.parameters(), expected) <= 1e-6
    ours = [one["momentum_buffer"] for one in plain.state_dict()["state"].values()]
    theirs = [one["momentum_buffer"] for one in state["state"].values()]
    assert apart(ours, theirs) <= 1e-6
    assert [roll.scale for roll in read_rolls(tmp_path / "rolls.csv")] == factors
