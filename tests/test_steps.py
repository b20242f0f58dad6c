"""Steps of an optimizer on its own, without a Trainer."""

import copy
import importlib

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_dice.steps import ScaledSteps

scales = st.none() | st.floats(-3, 3, allow_nan=False, allow_subnormal=False)
OPTIMIZERS = {
    "sgd": lambda groups: torch.optim.SGD(groups, lr=0.1, momentum=0.9, weight_decay=0.01),
    "adamw": lambda groups: torch.optim.AdamW(groups, lr=0.1),
    "adafactor": lambda groups: torch.optim.Adafactor(groups, lr=0.1),
}


def parameters(count=4):
    generator = torch.Generator().manual_seed(1)
    shapes = [(3, 2), (5,), (1, 4), ()][:count]
    made = [
        torch.nn.Parameter(torch.randn(shape, generator=generator).double()) for shape in shapes
    ]
    for parameter in made:
        parameter.grad = torch.randn(parameter.shape, generator=generator).double()
    return made


def slots_of(weights):
    return lambda: {slot: [weight] for slot, weight in enumerate(weights)}


@pytest.mark.parametrize("name", OPTIMIZERS)
@settings(deadline=None)
@given(rolled=st.lists(scales, min_size=4, max_size=4))
def test_every_tensor_moves_by_its_own_scale_times_the_own_step(name, rolled):
    weights, twins = parameters(), parameters()
    groups = [{"params": weights[:2]}, {"params": weights[2:], "lr": 0.05}]
    optimizer = OPTIMIZERS[name](groups)
    twin = OPTIMIZERS[name]([{"params": twins[:2]}, {"params": twins[2:], "lr": 0.05}])
    steps = ScaledSteps(optimizer, "update", slots_of(weights))
    before = [weight.detach().clone() for weight in weights]
    steps.next(dict(enumerate(rolled)))
    optimizer.step()
    twin.step()
    for weight, start, full, scale in zip(weights, before, twins, rolled, strict=True):
        wanted = start + (scale or 0.0) * (full.detach() - start)
        torch.testing.assert_close(weight.detach(), wanted, rtol=1e-12, atol=1e-14)
        if not scale:
            assert torch.equal(weight, start)
    assert [group["lr"] for group in optimizer.param_groups] == [0.1, 0.05]
    assert str(optimizer.state_dict()) == str(twin.state_dict())


@pytest.mark.parametrize("target", ["gradient", "update"])
@pytest.mark.parametrize("how", ["positional", "keyword", "none"])
def test_a_closure_is_followed_however_it_is_given(target, how):
    weight = torch.nn.Parameter(torch.ones(2))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    steps = ScaledSteps(optimizer, target, lambda: {0: [weight]})
    steps.next({0: 0.5})

    def closure():
        weight.grad = torch.full((2,), 0.5)
        return "what it returns"

    if how == "positional":
        assert optimizer.step(closure) == "what it returns"
    elif how == "keyword":
        assert optimizer.step(closure=closure) == "what it returns"
    else:
        closure()
        assert optimizer.step() is None
    assert weight.tolist() == [0.75, 0.75]


@pytest.mark.parametrize("target", ["gradient", "update"])
@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.Rprop])
def test_hooks_after_the_step_find_what_the_roll_left(target, kind):
    weight = torch.nn.Parameter(torch.ones(1))
    optimizer = kind([weight], lr=0.5)
    seen = []

    def look(*args):
        seen.append((weight.item(), optimizer.param_groups[0]["lr"]))

    optimizer.register_step_post_hook(look)
    steps = ScaledSteps(optimizer, target, lambda: {0: [weight]})
    optimizer.register_step_post_hook(look)
    weight.grad = torch.ones(1)
    steps.next({0: 0.25})
    optimizer.step()
    assert seen == [(weight.item(), 0.5)] * 2


def test_a_class_without_torchs_hooks():
    class Unhooked(torch.optim.SGD):
        def _patch_step_function(self):
            pass

        def step(self, closure=None):
            with torch.no_grad():
                for group in self.param_groups:
                    for parameter in group["params"]:
                        parameter -= group["lr"] * parameter.grad

    for target in ("gradient", "update"):
        weight = torch.nn.Parameter(torch.ones(1))
        optimizer = Unhooked([weight], lr=1.0)
        steps = ScaledSteps(optimizer, target, lambda weight=weight: {0: [weight]})
        weight.grad = torch.ones(1)
        steps.next({0: 0.25})
        optimizer.step()
        assert weight.item() == 0.75


def test_a_step_that_nothing_was_rolled_for_is_said_once():
    weight = torch.nn.Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    ScaledSteps(optimizer, "gradient", lambda: {0: [weight]})
    weight.grad = torch.ones(1)
    with pytest.warns(UserWarning, match="nothing was rolled for"):
        optimizer.step()
    optimizer.step()
    assert weight.item() == -1.0


@pytest.mark.parametrize("target", ["gradient", "update"])
def test_removed_it_leaves_the_optimizer_as_it_was(target):
    weight = torch.nn.Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    before = copy.copy(vars(optimizer))
    first = ScaledSteps(optimizer, target, lambda: {0: [weight]})
    second = ScaledSteps(optimizer, target, lambda: {0: [weight]})
    first.remove()
    second.remove()
    assert vars(optimizer) == before
    assert not optimizer._optimizer_step_pre_hooks
    assert not optimizer._optimizer_step_post_hooks


def test_a_scheduler_made_later_takes_the_step_apart_and_it_still_holds():
    weight = torch.nn.Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    steps = ScaledSteps(optimizer, "update", lambda: {0: [weight]})
    scheduler = torch.optim.lr_scheduler.ConstantLR(optimizer, 0.5)
    weight.grad = torch.ones(1)
    steps.next({0: 0.5})
    optimizer.step()
    scheduler.step()
    assert weight.item() == 0.75
    steps.remove()
    optimizer.step()
    assert weight.item() == 0.25


@pytest.mark.parametrize("rolled", [{0: 0.5, 1: -1.0}, {0: 2.0, 1: 2.0}])
def test_groups_are_whole_when_the_computation_raises(rolled, monkeypatch):
    weights = [torch.nn.Parameter(torch.ones(1)) for _ in range(2)]
    optimizer = torch.optim.SGD(weights, lr=0.5)
    groups = optimizer.param_groups
    steps = ScaledSteps(optimizer, "update", slots_of(weights))
    for weight in weights:
        weight.grad = torch.ones(1)
    seen = []

    def breaks(*args, lr, **kwargs):
        seen.append(lr)
        raise RuntimeError("the device's own")

    monkeypatch.setattr(importlib.import_module("torch.optim.sgd"), "sgd", breaks)
    steps.next(rolled)
    with pytest.raises(RuntimeError, match="the device's own"):
        optimizer.step()
    assert seen[0] == 0.5 * rolled[0], "it raised while a scaled group was in place"
    assert optimizer.param_groups is groups
    assert groups[0]["lr"] == 0.5


def test_a_hook_that_is_registered_late_still_comes_before_the_roll():
    weight = torch.nn.Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    steps = ScaledSteps(optimizer, "gradient", lambda: {0: [weight]})
    optimizer.register_step_pre_hook(lambda *_: weight.grad.clamp_(max=1.0) and None)
    weight.grad = torch.full((1,), 8.0)
    steps.next({0: 0.5})
    optimizer.step()
    assert weight.item() == 0.5


def test_groups_that_a_hook_replaced_stay():
    weight = torch.nn.Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([weight], lr=1.0)

    def roll_back(*args):
        saved = optimizer.state_dict()
        saved["param_groups"][0]["lr"] = 0.125
        optimizer.load_state_dict(saved)

    optimizer.register_step_post_hook(roll_back)
    steps = ScaledSteps(optimizer, "update", lambda: {0: [weight]})
    for scale in (1.0, 0.5, None):
        optimizer.param_groups[0]["lr"] = 1.0
        weight.grad = torch.ones(1)
        steps.next({0: scale})
        optimizer.step()
        assert optimizer.param_groups[0]["lr"] == 0.125


class Extra(torch.optim.SGD):
    """Does something of its own after its base class's step."""

    @torch.no_grad()
    def step(self, closure=None):
        loss = super().step(closure)
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.sub_(0.25)
        return loss


@pytest.mark.parametrize("scale", [None, 0.5, 1.0])
def test_a_step_that_calls_its_base_classs_is_one_step(scale):
    torch.optim.SGD([torch.nn.Parameter(torch.ones(1))])  # puts torch's hooks into the base class
    weight = torch.nn.Parameter(torch.ones(1))
    optimizer = Extra([weight], lr=0.25)
    steps = ScaledSteps(optimizer, "update", lambda: {0: [weight]})
    weight.grad = torch.ones(1)
    steps.next({0: scale})
    optimizer.step()
    assert weight.item() == 1.0 - 0.5 * (scale or 0.0)


class Counts(torch.optim.Optimizer):
    """Counts steps in its group, and moves weights without a gradient too."""

    def __init__(self, parameters):
        super().__init__(parameters, {"k": 0})

    @torch.no_grad()
    def step(self, closure=None):
        loss = None if closure is None else closure()
        for group in self.param_groups:
            group["k"] += 1
            for parameter in group["params"]:
                parameter.mul_(0.5)
        return loss


@pytest.mark.parametrize("closure", [True, False])
def test_a_discard_leaves_state_that_belongs_to_no_parameter(closure):
    weights = [torch.nn.Parameter(torch.ones(1)) for _ in range(2)]
    optimizer = Counts(weights)
    steps = ScaledSteps(optimizer, "gradient", slots_of(weights))

    def evaluate():
        for weight in weights:
            weight.grad = torch.ones(1)
        return 7.0

    for rolled, moved, k in (
        ({0: None, 1: None}, [1.0, 1.0], 0),
        ({0: None, 1: 1.0}, [1.0, 0.5], 1),
    ):
        steps.next(rolled)
        if closure:
            assert optimizer.step(evaluate) == 7.0
        else:
            evaluate()
            optimizer.step()
        assert [weight.item() for weight in weights] == moved
        assert optimizer.param_groups[0]["k"] == k


@pytest.mark.parametrize("rolled", [{0: None, 1: None}, {0: None, 1: 1.0}])
def test_lbfgs_leaves_what_is_discarded(rolled):
    weights = [torch.nn.Parameter(torch.ones(2)) for _ in range(2)]
    optimizer = torch.optim.LBFGS(weights, lr=0.1, max_iter=4)
    steps = ScaledSteps(optimizer, "gradient", slots_of(weights))

    def closure():
        optimizer.zero_grad()
        loss = (weights[0] * weights[1] - 3).square().sum()
        loss.backward()
        return loss

    for step in range(4):
        steps.next(rolled if step else {0: 1.0, 1: 1.0})
        before = [weight.detach().clone() for weight in weights]
        state = copy.deepcopy(optimizer.state_dict())
        optimizer.step(closure)
        if step:
            for slot, scale in rolled.items():
                assert torch.equal(weights[slot], before[slot]) == (scale is None)
        if step and rolled[1] is None:
            assert str(optimizer.state_dict()) == str(state), "func_evals too"
