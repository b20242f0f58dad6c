"""Copies of what has dice, made in the middle of training: they have none."""

import copy
import io
import pickle

import pytest
import torch

from lightning_dice import SavingThrow
from lightning_dice.adapters.torch_loop import attach
from support.toy import data, loss_of, network, same

HALF = SavingThrow("d4", 2, [0.5] * 4)


class CopiesAll(torch.optim.SGD):
    """Keeps all that it has in its copies, hooks too; torch's own leave most of it out."""

    def __getstate__(self):
        return dict(vars(self))


class Shares(CopiesAll):
    """Is copied by its attributes, which its copies then share with it."""

    def __copy__(self):
        twin = object.__new__(type(self))
        vars(twin).update(vars(self))
        return twin


def by_pickle(thing):
    return pickle.loads(pickle.dumps(thing))


def by_torch(thing):
    file = io.BytesIO()
    torch.save(thing, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


def moved(optimizer, scale=1.0):
    """Whether a step moves every weight by ``scale`` times learning rate times a gradient of 1."""
    own = [p for group in optimizer.param_groups for p in group["params"]]
    before = [p.detach().clone() for p in own]
    for p in own:
        p.grad = torch.ones_like(p)
    optimizer.step()
    pairs = zip(own, before, strict=True)
    return all(torch.allclose(p, start - 0.1 * scale) for p, start in pairs)


@pytest.mark.parametrize("target", ["gradient", "update"])
@pytest.mark.parametrize("kind", [torch.optim.SGD, CopiesAll, Shares])
@pytest.mark.parametrize("way", [copy.copy, copy.deepcopy, by_pickle, by_torch])
class TestOptimizers:
    def test_a_copy_has_no_dice(self, way, kind, target):
        optimizer = kind(network().parameters(), lr=0.1)
        dice = attach(optimizer, HALF, target=target, seed=0)
        assert moved(optimizer, 0.5)
        twin = way(optimizer)
        for one in (twin, way(twin)):
            assert moved(one)
            assert len(dice.rolls.recent) == 1
        assert moved(optimizer, 0.5)
        assert len(dice.rolls.recent) == 2
        dice.remove()
        assert moved(twin)
        assert moved(optimizer)
        attach(twin, HALF, target=target, seed=0)
        assert moved(twin, 0.5)

    def test_a_copy_that_is_made_within_a_step(self, way, kind, target):
        twins = []

        class Copied(kind):
            def step(self, closure=None):
                twins.append(way(inside))
                return super().step(closure)

        inside = kind(network().parameters(), lr=0.1)
        outside = Copied(inside.param_groups, lr=0.1)
        dice = attach([outside, inside], HALF, target=target, seed=0)
        assert moved(outside, 0.5)
        assert moved(twins[0])
        assert len(dice.rolls.recent) == 1


@pytest.mark.parametrize("way", [copy.deepcopy, by_pickle, by_torch])
def test_a_module_that_keeps_its_dice_is_copied_without_them(way):
    net = network()
    net.optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    net.dice = attach(net.optimizer, HALF, seed=0)
    loss_of(net, data()[0]).backward()
    net.optimizer.step()
    twin = way(net)
    assert twin.dice is None
    assert same(twin.parameters(), net.parameters())
    own = [p for group in twin.optimizer.param_groups for p in group["params"]]
    assert all(p is q for p, q in zip(own, twin.parameters(), strict=True))
    assert moved(twin.optimizer)
    assert moved(net.optimizer, 0.5)
    assert len(net.dice.rolls.recent) == 2


@pytest.mark.parametrize("way", [copy.copy, copy.deepcopy, by_pickle])
def test_a_copy_of_a_gradient_scaler_has_no_dice(way):
    net, other = network(), network()
    ours, theirs = (torch.optim.SGD(own.parameters(), lr=0.1) for own in (net, other))
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    dice = attach(ours, HALF, seed=0, scaler=scaler)
    twin = way(scaler)
    assert "step" not in vars(twin)
    twin.scale(loss_of(other, data()[0])).backward()
    twin.step(theirs)
    assert len(dice.rolls.recent) == 0
    scaler.scale(loss_of(net, data()[0])).backward()
    scaler.step(ours)
    assert len(dice.rolls.recent) == 1
