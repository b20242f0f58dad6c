"""Steps of an optimizer on its own, without a Trainer."""

import copy

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
