"""What the page trains is what torch trains, without dice and with them, to 1e-6 over 200 steps."""

import numpy as np
import pytest
import torch

from lightning_dice import SavingThrow
from lightning_dice.adapters.torch_loop import attach
from lightning_dice.rules import Roller

STEPS = 200
SEED = 20
NOISE = 2**63
LOSSES = {
    "bowl": lambda x, y: (x**2 + 25 * y**2) / 2,
    "rosenbrock": lambda x, y: (1 - x) ** 2 + 10 * (y - x**2) ** 2,
    "himmelblau": lambda x, y: (x**2 + y - 11) ** 2 + (x + y**2 - 7) ** 2,
    "saddle": lambda x, y: x**2 / 2 - y**2 / 2 + y**4 / 4,
    "ravine": lambda x, y: x**2 / 20 + 2 * (y - torch.sin(x)) ** 2,
}
OPTIMIZERS = {
    "sgd": torch.optim.SGD,
    "momentum": lambda weights, lr: torch.optim.SGD(weights, lr, momentum=0.9),
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
}
EVERYWHERE = pytest.mark.parametrize("surface", LOSSES)
WHATEVER = pytest.mark.parametrize("optimizer", OPTIMIZERS)


def noise(seed, steps, deviation):
    """Standard normals of numpy's own generator, by the polar form of Box and Muller."""
    counter, key = np.zeros(4, np.uint64), np.array([seed, NOISE], np.uint64)
    words = np.random.Philox(counter=counter, key=key).random_raw(2 * steps)
    first, second = (words.reshape(steps, 2) >> np.uint64(11)).T / 2.0**53
    return deviation * np.stack(
        [
            np.sqrt(-2 * np.log1p(-first)) * np.cos(2 * np.pi * second),
            np.sqrt(-2 * np.log1p(-first)) * np.sin(2 * np.pi * second),
        ],
        axis=1,
    )


def trained(settings, clip=None, factor=1.0, prepare=lambda optimizer: None, each=None):
    """Where torch goes from the same start: each step's weights, and the losses there."""
    weights = torch.nn.Parameter(torch.tensor([settings["x"], settings["y"]], dtype=torch.float64))
    optimizer = OPTIMIZERS[settings["optimizer"]]([weights], settings["lr"] * factor)
    prepare(optimizer)
    path, losses = [], []
    for step, kick in enumerate(noise(SEED, STEPS, settings["noise"])):
        optimizer.zero_grad()
        loss = LOSSES[settings["surface"]](*weights)
        loss.backward()
        path.append(weights.detach().numpy().copy())
        losses.append(loss.item())
        weights.grad += torch.tensor(kick)
        if clip:
            torch.nn.utils.clip_grad_norm_([weights], clip)
        if each:
            each(step, weights)
        optimizer.step()
    return np.array(path), np.array(losses)


def same(runner, expected):
    path, losses = expected
    assert runner["stopped"] is None
    np.testing.assert_allclose(np.array(runner["path"])[:STEPS], path, rtol=0, atol=1e-6)
    np.testing.assert_allclose(np.array(runner["losses"])[:STEPS], losses, rtol=1e-6, atol=1e-6)
    assert np.ptp(path, axis=0).max() > 0.1  # it has moved


@EVERYWHERE
@WHATEVER
def test_plain_training_and_the_same_mean_step_are_torchs(raced, surface, optimizer):
    race = raced({"surface": surface, "optimizer": optimizer, "seed": str(SEED)}, STEPS)
    same(race["plain"], trained(race["settings"]))
    same(race["mean"], trained(race["settings"], factor=float(SavingThrow().odds().mean)))


def with_dice(target):
    return lambda optimizer: attach(optimizer, SavingThrow(), target=target, seed=SEED)


@EVERYWHERE
@WHATEVER
@pytest.mark.parametrize("target", ["gradient", "update"])
def test_dice_are_those_that_a_loop_attaches(raced, surface, optimizer, target):
    given = {"surface": surface, "optimizer": optimizer, "target": target, "seed": str(SEED)}
    race = raced(given, STEPS)
    same(race["dice"], trained(race["settings"], prepare=with_dice(target)))


@WHATEVER
@pytest.mark.parametrize("target", ["gradient", "update"])
def test_clip_first_roll_second(raced, optimizer, target):
    given = {"optimizer": optimizer, "target": target, "noise": 0.5, "seed": str(SEED)}
    race = raced({**given, "clip": "before", "clipnorm": 2}, STEPS)
    same(race["plain"], trained(race["settings"], clip=2))
    same(race["dice"], trained(race["settings"], clip=2, prepare=with_dice(target)))


@WHATEVER
def test_the_naive_ways_are_what_their_names_say(raced, optimizer):
    """Scale in a hook, then clip; and call a gradient of zero no update."""
    given = {"optimizer": optimizer, "clip": "after", "clipnorm": 2, "discard": "zero"}
    race = raced({**given, "seed": str(SEED)}, STEPS)
    roller = Roller(SavingThrow(), SEED)

    def scaled(step, weights):
        weights.grad *= roller.roll(step).scale or 0.0
        torch.nn.utils.clip_grad_norm_([weights], 2)

    same(race["dice"], trained(race["settings"], each=scaled))


def test_what_arrived_is_the_step_along_the_optimizers_own(raced):
    race = raced({"optimizer": "sgd"}, STEPS)
    for roll in race["rolls"]:
        assert roll["arrived"] == pytest.approx(roll["scale"] or 0, abs=1e-12)
    for roll in raced({"optimizer": "adamw", "target": "update"}, STEPS)["rolls"]:
        assert roll["arrived"] == pytest.approx(roll["scale"] or 0, abs=1e-12)


def test_a_change_on_the_way_takes_hold_at_the_next_step(raced):
    late = raced({"threshold": 10}, 60, {30: {"threshold": 15, "lr": 0.01, "target": "update"}})
    early = raced({"threshold": 10}, 30)
    assert late["dice"]["path"][:31] == early["dice"]["path"]
    for roll in late["rolls"][30:]:
        assert roll["scale"] == SavingThrow("d20", 15).resolve(roll["natural"]).scale


def test_what_runs_to_infinity_is_stopped_and_the_rest_goes_on(raced):
    race = raced({"optimizer": "sgd", "lr": 10, "threshold": 20, "scaling": "skip"}, 400)
    assert race["plain"]["stopped"] is not None
    assert race["plain"]["stopped"] < race["dice"]["stopped"]
    assert race["steps"] == race["dice"]["stopped"] + 1
    for name in ("plain", "dice"):
        assert np.isfinite(race[name]["path"]).all()
        assert len(race[name]["path"]) == race[name]["stopped"] + 1
