"""Dice on an optimizer in a loop written by hand, held against the rule as a loop in float64."""

import pytest
import torch
from torch import nn

from lightning_dice import SavingThrow
from lightning_dice.adapters.torch_loop import attach
from support.by_hand import EXACT, FULL, KINDS, SEED, THROW, apart, factor, leaves, train, windows
from support.toy import BATCHES, OPTIMIZERS, adamw, data, loss_of, momentum, network, same, sgd


def batches():
    return [(inputs.double(), targets.double()) for inputs, targets in data()]


def where(kind):
    return {"granularity": kind} if kind == "per_mini_batch" else {"target": kind}


def roll_for(optimizer, kind, throw=THROW, **settings):
    return attach(optimizer, throw, seed=SEED, **where(kind), **settings)


def loop(kind, factory=adamw, accumulate=1, epochs=1, throw=THROW, clip=None, **settings):
    """Weights and dice of a loop as people write them."""
    net = network().double()
    optimizer = factory(net.parameters())
    dice = roll_for(optimizer, kind, throw, **settings) if throw else None
    for index, batch in enumerate(epochs * batches(), 1):
        loss = loss_of(net, batch) / accumulate
        dice.backward(loss) if dice else loss.backward()
        if index % accumulate == 0:
            if clip is not None:
                nn.utils.clip_grad_norm_(net.parameters(), clip)
            optimizer.step()
            optimizer.zero_grad()
    return net, dice, optimizer


class TestTheRule:
    @pytest.mark.parametrize("factory", OPTIMIZERS.values(), ids=OPTIMIZERS)
    @pytest.mark.parametrize("kind", KINDS)
    def test_every_step_is_that_of_the_rule(self, kind, factory):
        net, dice, _ = loop(kind, factory, epochs=2)
        expected = train(factory, kind, windows([1] * BATCHES, [1] * BATCHES))
        assert apart(net.parameters(), expected) < EXACT
        scales = [factor(step) for step in range(2 * BATCHES)]
        assert [record.scale for record in dice.rolls.recent] == scales

    @pytest.mark.parametrize("kind", KINDS)
    def test_windows_of_several_mini_batches(self, kind):
        net, dice, _ = loop(kind, momentum, accumulate=3)
        expected = train(momentum, kind, windows([3] * (BATCHES // 3)))
        assert apart(net.parameters(), expected) < EXACT
        batch = [record.batch for record in dice.rolls.recent]
        assert batch == list(range(BATCHES) if kind == "per_mini_batch" else range(2, BATCHES, 3))

    @pytest.mark.parametrize("kind", KINDS)
    def test_scale_one_changes_no_bit(self, kind):
        diced, _, ours = loop(kind, throw=FULL)
        plain, _, theirs = loop(kind, throw=None)
        assert same(diced.parameters(), plain.parameters())
        assert leaves(ours.state_dict()) == leaves(theirs.state_dict())

    @pytest.mark.parametrize("kind", ["gradient", "update"])
    def test_clip_first_roll_second(self, kind):
        """Every step has the clip's size, times the roll."""
        net = network().double()
        optimizer = sgd(net.parameters())
        dice = roll_for(optimizer, kind)
        for step, batch in enumerate(batches()):
            before = [p.detach().clone() for p in net.parameters()]
            loss_of(net, batch).backward()
            nn.utils.clip_grad_norm_(net.parameters(), 0.01)
            optimizer.step()
            optimizer.zero_grad()
            moved = [p - b for p, b in zip(net.parameters(), before, strict=True)]
            norm = torch.cat([m.flatten() for m in moved]).norm().item()
            assert norm == pytest.approx(0.1 * 0.01 * abs(factor(step) or 0), rel=1e-3, abs=1e-15)
        assert dice.last_roll.scale == factor(BATCHES - 1)

    @pytest.mark.parametrize("scope", ["param_group", "tensor"])
    @pytest.mark.parametrize("kind", ["gradient", "update"])
    def test_a_roll_for_each_slot(self, kind, scope):
        def groups(parameters):
            first, *rest = parameters
            return torch.optim.AdamW([{"params": [first]}, {"params": rest, "lr": 0.02}], lr=0.05)

        net, dice, _ = loop(kind, groups, scope=scope)
        slots = [0, 1, 1, 1] if scope == "param_group" else [0, 1, 2, 3]
        twin = network().double()
        optimizer = groups(twin.parameters())
        for step, batch in enumerate(batches()):
            loss_of(twin, batch).backward()
            before = [p.detach().clone() for p in twin.parameters()]
            scales = [factor(step, slot=slot) for slot in slots]
            if kind == "gradient":
                for p, scale in zip(twin.parameters(), scales, strict=True):
                    p.grad = None if scale is None else p.grad * scale
            optimizer.step()
            if kind == "update":
                with torch.no_grad():
                    for p, start, scale in zip(twin.parameters(), before, scales, strict=True):
                        p.copy_(start + scale * (p - start) if scale else start)
            optimizer.zero_grad()
        assert apart(net.parameters(), twin.parameters()) < EXACT
        assert len(dice.last_roll) == len(set(slots))

    @pytest.mark.parametrize("kind", KINDS)
    def test_a_discard_is_no_zero(self, kind):
        nothing = SavingThrow("d4", 2, [None] * 4)
        net, start = network().double(), network().double()
        optimizer = momentum(net.parameters())
        with pytest.warns(UserWarning, match="every roll discards"):
            dice = roll_for(optimizer, kind, nothing)
        for batch in batches():
            dice.backward(loss_of(net, batch) * torch.nan)
            optimizer.step()
            optimizer.zero_grad()
        assert same(net.parameters(), start.parameters())
        if kind != "update":
            assert not optimizer.state


class TestClosures:
    @pytest.mark.parametrize("kind", KINDS)
    def test_lbfgs_has_one_roll_a_step_however_often_it_evaluates(self, kind):
        def run(throw):
            net = network().double()
            optimizer = torch.optim.LBFGS(net.parameters(), lr=0.3, max_iter=4)
            dice = roll_for(optimizer, kind, throw)
            calls = 0
            for batch in batches():

                def closure(batch=batch):
                    nonlocal calls
                    calls += 1
                    optimizer.zero_grad()
                    loss = loss_of(net, batch)
                    dice.backward(loss)
                    return loss

                optimizer.step(closure)
            return net, dice, calls

        net, dice, calls = run(THROW)
        assert calls > BATCHES
        assert [r.scale for r in dice.rolls.recent] == [factor(step) for step in range(BATCHES)]
        assert [r.batch for r in dice.rolls.recent] == list(range(BATCHES))
        assert all(p.isfinite().all() for p in net.parameters())

    @pytest.mark.parametrize("kind", KINDS)
    def test_a_closure_is_a_loop_without_one(self, kind):
        net = network().double()
        optimizer = momentum(net.parameters())
        dice = roll_for(optimizer, kind)
        for batch in batches():

            def closure(batch=batch):
                optimizer.zero_grad()
                loss = loss_of(net, batch)
                dice.backward(loss)
                return loss

            wanted = loss_of(net, batch).item()
            assert optimizer.step(closure).item() == wanted, "what it returned"
        expected, _, _ = loop(kind, momentum)
        assert apart(net.parameters(), expected.parameters()) < EXACT


LOOKS = {
    "clips by value": lambda net: torch.nn.utils.clip_grad_value_(net.parameters(), 0.01),
    "clips by norm": lambda net: torch.nn.utils.clip_grad_norm_(net.parameters(), 0.1),
    "reads them": lambda net: [p.grad.norm() for p in net.parameters()],
}


class TestGradientsOfADiscardedMiniBatch:
    """What a loop may do with gradients after every backward pass, it may do after a discard."""

    @pytest.mark.parametrize("every", [1, 2])
    @pytest.mark.parametrize("look", LOOKS.values(), ids=LOOKS)
    def test_a_loop_may_look_at_them(self, look, every):
        """Held against a loop that adds up each mini-batch's scale times its gradient by hand."""
        throw = SavingThrow("d4", 2, [None, 1.0, -0.25, None])
        net, twin = network(), network()
        optimizer, theirs = adamw(net.parameters()), adamw(twin.parameters())
        dice = attach(optimizer, throw, granularity="per_mini_batch", seed=1)
        kept = 0
        for number, batch in enumerate(data(), 1):
            dice.backward(loss_of(net, batch))
            scale = dice.rolls.recent[-1].scale
            if scale is not None:
                (loss_of(twin, batch) * scale).backward()
                kept += 1
            look(net)
            if kept:
                look(twin)
            if number % every == 0:
                optimizer.step()
                if kept:
                    theirs.step()
                kept = 0
                optimizer.zero_grad()
                theirs.zero_grad()
            assert same(net.parameters(), twin.parameters())
        scales = [record.scale for record in dice.rolls.recent]
        assert scales[0] is None or None in scales[2:], "some window begins with a discard"

    def test_a_parameter_that_no_loss_reaches_stays_without_a_gradient(self):
        throw = SavingThrow("d4", 2, [None, 1.0, 1.0, None])
        used, unused = (torch.nn.Parameter(torch.ones(2)) for _ in range(2))
        optimizer = torch.optim.AdamW([used, unused], lr=0.1, weight_decay=0.5)
        dice = attach(optimizer, throw, granularity="per_mini_batch", seed=1)
        while len(dice.rolls.recent) < 24:
            for _ in range(3):
                dice.backward(used.sum())
            optimizer.step()
            optimizer.zero_grad()
        assert torch.equal(unused, torch.ones(2))
        assert not torch.equal(used, torch.ones(2))
