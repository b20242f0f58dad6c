"""A pack's optimizers make the steps of torch's."""

import pytest
import torch
from layout import BLOCK, Layout
from optimizers import BASES, Alignment, Rolled, clipped
from torch import nn

RATES = (0.003, 0.01, 0.03)
DECAYS = (0.0, 0.1, 1.0)
REFERENCES = {
    "adamw": lambda groups, lr: torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.99)),
    "rmsprop": lambda groups, lr: torch.optim.RMSprop(groups, lr=lr),
    "sgd": lambda groups, lr: torch.optim.SGD(groups, lr=lr, momentum=0.9),
}


def module():
    return nn.Sequential(nn.Linear(5, 4), nn.Linear(4, 3))


@pytest.fixture
def layout():
    return Layout(module())


@pytest.fixture
def rows(layout):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(3, layout.length, generator=generator)


def gradients(layout, steps):
    generator = torch.Generator().manual_seed(1)
    for _ in range(steps):
        yield torch.randn(3, layout.length, generator=generator)


def whole(layout, values):
    """One value a tensor as one a number."""
    return (layout.spread(values) * torch.ones(3, layout.length // BLOCK, BLOCK)).flatten(1)


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("decays", [DECAYS, None])
def test_fifty_steps_are_those_of_torch(base, decays, layout, rows):
    packed = BASES[base](layout, 3, None if decays is None else torch.tensor(decays), None)
    parts = [{n: v[i].clone() for n, v in layout.views(rows).items()} for i in range(3)]
    optimizers = []
    for run in range(3):
        decay = 0.0 if decays is None else decays[run]
        groups = [
            {"params": [p for p in parts[run].values() if p.ndim > 1], "weight_decay": decay},
            {"params": [p for p in parts[run].values() if p.ndim < 2], "weight_decay": 0.0},
        ]
        optimizers.append(REFERENCES[base](groups, RATES[run]))
    for step, grads in enumerate(gradients(layout, 50)):
        lr = torch.tensor(RATES) / (1 + step)
        for run, own in enumerate(parts):
            for name, parameter in own.items():
                parameter.grad = layout.views(grads)[name][run].clone()
            for group in optimizers[run].param_groups:
                group["lr"] = lr[run].item()
            optimizers[run].step()
        packed.step(rows, grads, lr)
    for run, own in enumerate(parts):
        for name, parameter in own.items():
            torch.testing.assert_close(
                layout.views(rows)[name][run], parameter, atol=1e-6, rtol=1e-6
            )


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("columns", ["model", "tensor"])
@pytest.mark.parametrize("bad", [1.0, float("nan"), float("inf")])
def test_a_discarded_gradient_leaves_every_bit(base, columns, bad, layout, rows):
    packed = BASES[base](layout, 3, torch.tensor(DECAYS), None)
    keep = torch.ones(3, 1 if columns == "model" else len(layout), dtype=torch.bool)
    first, second = gradients(layout, 2)
    packed.step(rows, first, torch.tensor(RATES), Rolled(keep=keep))
    before = rows.clone(), {name: state.clone() for name, state in packed.state.items()}
    keep[1, -1] = False
    gone = whole(layout, keep) == 0
    packed.step(rows, torch.where(gone, bad, second), torch.tensor(RATES), Rolled(keep=keep))
    assert torch.equal(rows[gone], before[0][gone])
    assert not torch.equal(rows, before[0])
    assert rows.isfinite().all()
    for name, state in packed.state.items():
        own = ~keep if state.shape == keep.shape else layout.blocks(gone)
        assert torch.equal(state[own], before[1][name][own])
        assert not torch.equal(state, before[1][name])


@pytest.mark.parametrize("base", BASES)
def test_a_factor_on_the_update_scales_it_and_not_the_state(base, layout, rows):
    factors = torch.rand(3, len(layout)) - 0.3
    factors[0, 0] = 0
    for grads in gradients(layout, 1):
        moved = []
        for update in (None, factors):
            packed = BASES[base](layout, 3, torch.tensor(DECAYS), None)
            weights = rows.clone()
            packed.step(weights, grads, torch.tensor(RATES), Rolled(update=update))
            moved.append((weights - rows, packed.state))
    scaled = moved[0][0] * whole(layout, factors)
    torch.testing.assert_close(moved[1][0], scaled, atol=1e-6, rtol=1e-5)
    assert all(torch.equal(moved[0][1][name], moved[1][1][name]) for name in moved[0][1])


@pytest.mark.parametrize("base", ["adamw", "rmsprop"])
def test_magma_is_the_published_rule(base, layout, rows):
    hidden = [True, True, False, False]
    runs = torch.tensor([True, False, True])
    packed = BASES[base](layout, 3, None, Alignment(layout, hidden, runs))
    bare = BASES[base](layout, 3, None, None)
    scores = torch.full((2,), 0.5)
    moment = torch.zeros_like(rows)
    for grads in gradients(layout, 5):
        moment = 0.9 * moment + 0.1 * grads
        before, full = rows.clone(), rows.clone()
        packed.step(rows, grads, torch.tensor(RATES))
        bare.step(full, grads, torch.tensor(RATES))
        step, full_step = layout.views(rows - before), layout.views(full - before)
        for index, name in enumerate(layout.names):
            torch.testing.assert_close(step[name][1], full_step[name][1])
            if index < 2:
                m, g = (layout.views(x)[name][0].flatten() for x in (moment, grads))
                cosine = m @ g / (m.norm() * g.norm())
                scores[index] = 0.9 * scores[index] + 0.1 * torch.sigmoid(cosine / 2)
                expected = full_step[name][0] * scores[index]
                torch.testing.assert_close(step[name][0], expected, atol=1e-6, rtol=1e-4)
            else:
                torch.testing.assert_close(step[name][0], full_step[name][0])


def test_clipping_is_torchs_for_each_run(layout):
    (grads,) = gradients(layout, 1)
    grads[1] *= 0.01
    expected = []
    for row in grads.clone():
        parameter = nn.Parameter(torch.zeros_like(row))
        parameter.grad = row
        nn.utils.clip_grad_norm_([parameter], 1.0)
        expected.append(parameter.grad)
    torch.testing.assert_close(clipped(grads), torch.stack(expected))
