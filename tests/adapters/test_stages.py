"""Sharpness-aware optimizers, stepped in stages, against the same training without dice by hand."""

import copy

import pytest
import torch
from lightning.fabric import Fabric

from lightning_dice import SavingThrow
from lightning_dice.adapters.torch_loop import attach
from lightning_dice.rules import SettingError
from support.toy import adamw, data, loss_of, momentum, network, same, sgd

FACTORS = [None, -0.75, 0.25, 0.0, 1.0, 2.5]
THROW = SavingThrow("d6", 2, FACTORS)


class Sharp(torch.optim.Optimizer):
    """Climbs, goes back, and leaves the step to an optimizer inside; written as people write it."""

    def __init__(self, parameters, make, rho=0.2):
        super().__init__(parameters, {"rho": rho})
        self.base_optimizer = make(self.param_groups)
        self.param_groups = self.base_optimizer.param_groups

    @torch.no_grad()
    def first_step(self, zero_grad=False):
        held = [p for g in self.param_groups for p in g["params"] if p.grad is not None]
        norm = torch.stack([p.grad.norm() for p in held]).norm()
        for p in held:
            self.state[p]["old"] = p.data.clone()
            p.add_(p.grad * (0.2 / norm))
        if zero_grad:
            self.zero_grad()

    @torch.no_grad()
    def second_step(self, zero_grad=False):
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    p.data = self.state[p]["old"]
        self.base_optimizer.step()
        if zero_grad:
            self.zero_grad()

    @torch.no_grad()
    def step(self, closure):
        closure = torch.enable_grad()(closure)
        self.first_step(zero_grad=True)
        closure()
        self.second_step()


class Inherits(torch.optim.SGD):
    """Is itself the optimizer that it steps, by ``super().step()``."""

    def __init__(self, parameters, make):
        super().__init__(parameters, lr=0.1, momentum=0.9)

    first_step = Sharp.first_step

    @torch.no_grad()
    def second_step(self, zero_grad=False):
        for p in (p for g in self.param_groups for p in g["params"] if p.grad is not None):
            p.copy_(self.state[p].pop("old"))
        super().step()
        if zero_grad:
            self.zero_grad()


def packaged(name):
    def make(parameters, factory):
        package = pytest.importorskip("pytorch_optimizer")
        kinds = {sgd: torch.optim.SGD, momentum: torch.optim.SGD, adamw: torch.optim.AdamW}
        settings = {"momentum": 0.9} if factory is momentum else {}
        return getattr(package, name)(parameters, kinds[factory], lr=0.1, **settings)

    return make


KINDS = {
    "by hand": Sharp,
    "inherits": Inherits,
    "SAM": packaged("SAM"),
    "FriendlySAM": packaged("FriendlySAM"),
}


def climb(net, optimizer, batch):
    loss_of(net, batch).backward()
    optimizer.first_step(zero_grad=True)
    loss_of(net, batch).backward()


def in_stages(net, optimizer, batch):
    climb(net, optimizer, batch)
    optimizer.second_step(zero_grad=True)


def scales_of(dice):
    return [record.scale for record in dice.rolls.recent]


@pytest.mark.parametrize("base", [sgd, momentum, adamw])
@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_an_update_is_the_whole_way_times_its_scale(kind, base):
    net, twin = network(), network()
    ours, theirs = kind(net.parameters(), base), kind(twin.parameters(), base)
    dice = attach(ours, THROW, target="update", seed=1)
    for batch in data():
        before = [p.detach().clone() for p in net.parameters()]
        with torch.no_grad():
            for p, start in zip(twin.parameters(), before, strict=True):
                p.copy_(start)
        in_stages(net, ours, batch)
        in_stages(twin, theirs, batch)
        scale = scales_of(dice)[-1] or 0.0
        for p, start, full in zip(net.parameters(), before, twin.parameters(), strict=True):
            torch.testing.assert_close(p, start + scale * (full - start), rtol=1e-5, atol=1e-6)
            assert scale or torch.equal(p, start), "not a bit moves"
    assert set(scales_of(dice)) == set(FACTORS)


@pytest.mark.parametrize("base", [sgd, momentum, adamw])
@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_a_gradient_is_scaled_where_the_climb_ended(kind, base):
    """Discarded, nothing moves: neither weights nor state, also that of the optimizer inside."""
    net, twin = network(), network()
    ours, theirs = kind(net.parameters(), base), kind(twin.parameters(), base)
    dice = attach(ours, THROW, target="gradient", seed=1)
    for batch in data():
        before = [p.detach().clone() for p in net.parameters()]
        state = copy.deepcopy(ours.state_dict())
        in_stages(net, ours, batch)
        scale = scales_of(dice)[-1]
        if scale is None:
            assert same(net.parameters(), before)
            assert str(ours.state_dict()) == str(state)
            continue
        climb(twin, theirs, batch)
        for p in twin.parameters():
            p.grad.mul_(scale)
        theirs.second_step(zero_grad=True)
        for p, q in zip(net.parameters(), twin.parameters(), strict=True):
            torch.testing.assert_close(p, q)


@pytest.mark.parametrize("target", ["gradient", "update"])
def test_a_part_that_is_discarded_stays_where_it_was_before_the_climb(target):
    net = network()
    optimizer = Sharp(net.parameters(), sgd)
    dice = attach(optimizer, THROW, target=target, scope="tensor", seed=1)
    stayed = 0
    for batch in data():
        before = [p.detach().clone() for p in net.parameters()]
        in_stages(net, optimizer, batch)
        rolls = list(dice.rolls.recent)[-4:]
        for record, p, start in zip(rolls, net.parameters(), before, strict=True):
            if not record.scale and (target == "update" or record.scale is None):
                assert torch.equal(p, start)
                stayed += 1
    assert stayed


@pytest.mark.parametrize("target", ["gradient", "update"])
def test_by_closure_it_has_the_rolls_that_it_has_in_stages(target):
    """Except that a closure's first evaluation, before the step, sees no clipping of the loop's."""

    def run(closure):
        net = network()
        optimizer = Sharp(net.parameters(), sgd)
        dice = attach(optimizer, THROW, target=target, seed=1)
        for batch in data():
            if closure:
                loss_of(net, batch).backward()
                optimizer.step(lambda batch=batch: loss_of(net, batch).backward())
                optimizer.zero_grad()
            else:
                in_stages(net, optimizer, batch)
        dice.remove()
        return net, scales_of(dice)

    (ours, rolled), (theirs, expected) = run(closure=False), run(closure=True)
    assert rolled == expected
    for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(p, q)


def test_a_mini_batch_has_one_roll_for_both_of_its_evaluations():
    net, twin = network(), network()
    ours, theirs = Sharp(net.parameters(), sgd), Sharp(twin.parameters(), sgd)
    dice = attach(ours, THROW, granularity="per_mini_batch", seed=1)
    for batch in data():
        dice.backward(loss_of(net, batch))
        ours.first_step(zero_grad=True)
        dice.backward(loss_of(net, batch))
        ours.second_step(zero_grad=True)
        scale = scales_of(dice)[-1]
        if scale:
            (scale * loss_of(twin, batch)).backward()
            theirs.first_step(zero_grad=True)
            (scale * loss_of(twin, batch)).backward()
            theirs.second_step(zero_grad=True)
        if scale == 0:  # a gradient of zero leads nowhere, not to be divided by
            with torch.no_grad():
                for p, q in zip(net.parameters(), twin.parameters(), strict=True):
                    p.copy_(q)
    assert [(record.step, record.batch) for record in dice.rolls.recent] == [
        (i, i) for i in range(12)
    ]
    for p, q in zip(net.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(p, q)


def test_a_step_that_broke_off_halfway_is_begun_again():
    net = network()
    optimizer = Sharp(net.parameters(), sgd)
    dice = attach(optimizer, THROW, target="update", seed=1)
    climb(net, optimizer, data()[0])
    optimizer.zero_grad()
    for batch in data()[:3]:
        in_stages(net, optimizer, batch)
    assert [record.step for record in dice.rolls.recent] == [0, 1, 2]
    with pytest.raises(RuntimeError):
        optimizer.first_step()  # there are no gradients
    in_stages(net, optimizer, data()[3])
    assert [record.step for record in dice.rolls.recent] == [0, 1, 2, 3]


def test_scale_1_changes_no_bit_and_nothing_is_left_behind():
    full = SavingThrow("d6", 2, [1.0] * 6)
    nets = network(), network()
    optimizers = [Sharp(net.parameters(), adamw) for net in nets]
    attributes = set(vars(optimizers[0]))
    with attach(optimizers[0], full, target="gradient", seed=0):
        for batch in data():
            for net, optimizer in zip(nets, optimizers, strict=True):
                in_stages(net, optimizer, batch)
    assert same(*(net.parameters() for net in nets))
    assert set(vars(optimizers[0])) == attributes


@pytest.mark.parametrize("target", ["gradient", "update"])
@pytest.mark.parametrize("name", ["BSAM", "LookSAM", "WSAM"])
@pytest.mark.filterwarnings("ignore:.*every roll discards")
def test_a_discard_by_those_that_have_more_stages_or_leave_some_out(name, target):
    package = pytest.importorskip("pytorch_optimizer")
    net = network()
    made = {
        "BSAM": lambda: package.BSAM(net.parameters(), num_data=48, lr=0.1),
        "LookSAM": lambda: package.LookSAM(net.parameters(), torch.optim.SGD, lr=0.1, k=3),
        "WSAM": lambda: package.WSAM(net, net.parameters(), torch.optim.SGD, lr=0.1),
    }
    optimizer = made[name]()
    dice = attach(optimizer, SavingThrow("d2", 1, [None, None]), target=target, seed=0)
    before = [p.detach().clone() for p in net.parameters()]
    for batch in data():
        for stage in ("first_step", "second_step", "third_step"):
            if hasattr(optimizer, stage):
                optimizer.zero_grad()
                loss_of(net, batch).backward()
                getattr(optimizer, stage)()
    assert same(net.parameters(), before)
    assert len(dice.rolls.recent) == 12


def test_in_a_wrapper_of_fabrics():
    nets, moved = (network(), network()), []
    for net, wrapped in zip(nets, (False, True), strict=True):
        model, optimizer = net, Sharp(net.parameters(), sgd)
        if wrapped:
            fabric = Fabric(accelerator="cpu", devices=1)
            model, optimizer = fabric.setup(net, optimizer)
        dice = attach(optimizer, THROW, target="update", seed=1)
        for batch in data():
            in_stages(model, optimizer, batch)
        dice.remove()
        moved.append(scales_of(dice))
        before = [p.detach().clone() for p in net.parameters()]
        in_stages(model, optimizer, data()[0])
        assert not same(net.parameters(), before)
        assert len(dice.rolls.recent) == 12
    assert moved[0] == moved[1]
    assert same(*(net.parameters() for net in nets))


def test_the_optimizer_inside_may_have_the_dice():
    net = network()
    optimizer = Sharp(net.parameters(), sgd)
    dice = attach(optimizer.base_optimizer, SavingThrow("d2", 1, [0.5, 0.5]), seed=0)
    for batch in data():
        in_stages(net, optimizer, batch)
    assert len(dice.rolls.recent) == 12
    with pytest.raises(SettingError, match="ordinal=0"):
        attach([optimizer, optimizer], THROW)
