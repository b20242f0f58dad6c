"""Dice in loops with scalers, schedulers, compiled steps and several optimizers."""

import copy

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import ExponentialLR, OneCycleLR

from lightning_dice import SavingThrow
from lightning_dice.adapters.torch_loop import attach
from lightning_dice.rules import Roller, SettingError
from support.by_hand import EXACT, SEED, THROW, apart, factor, roll, train, windows
from support.toy import BATCHES, adamw, data, loss_of, momentum, network, same, sgd

NEAR = 1e-6
HALF = SavingThrow("d4", 2, [0.5] * 4)


def fused(parameters):
    return torch.optim.AdamW(parameters, lr=0.05, weight_decay=0.1, fused=True)


def naturals(dice):
    return [record.natural for record in dice.rolls.recent]


class TestGradientScalers:
    OVERFLOWS = (2, 5)

    def run(self, factory, kind, given, dice=True):
        """Weights before and after every step, where two of the losses overflow."""
        net = network()
        optimizer = factory(net.parameters())
        scaler = torch.amp.GradScaler("cpu", init_scale=8.0, growth_interval=1000)
        settings = {"granularity": kind} if kind == "per_mini_batch" else {"target": kind}
        if dice:
            dice = attach(optimizer, THROW, seed=SEED, scaler=scaler if given else None, **settings)
        path = [[p.detach().clone() for p in net.parameters()]]
        for index, batch in enumerate(data()):
            loss = loss_of(net, batch) * (torch.inf if index in self.OVERFLOWS else 1)
            dice.backward(scaler.scale(loss)) if dice else scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad()
            path.append([p.detach().clone() for p in net.parameters()])
        return path, dice

    @pytest.mark.parametrize("factory", [sgd, adamw, fused])
    @pytest.mark.parametrize("kind", ["gradient", "update", "per_mini_batch"])
    def test_a_step_that_is_left_out_takes_its_roll_with_it(self, kind, factory):
        path, dice = self.run(factory, kind, given=True)
        assert naturals(dice) == Roller(THROW, SEED).naturals(0, BATCHES).tolist()
        for index in self.OVERFLOWS:
            # A discarded mini-batch leaves nothing that could overflow, and nothing to step by.
            assert same(path[index], path[index + 1])
        net = network()
        optimizer = factory(net.parameters())
        for step, batch in enumerate(data()):
            if step in self.OVERFLOWS:
                continue
            scale = factor(step)
            optimizer.zero_grad()
            if kind != "per_mini_batch" or scale is not None:
                ((scale if kind == "per_mini_batch" else 1) * loss_of(net, batch)).backward()
            roll(optimizer, kind, dict.fromkeys(net.parameters(), scale))
        assert apart(path[-1], net.parameters()) < NEAR

    @pytest.mark.parametrize("kind", ["gradient", "update"])
    def test_an_unfused_optimizer_whose_scaler_is_not_known_skips_no_roll(self, kind):
        path, dice = self.run(adamw, kind, given=False)
        made = BATCHES - len(self.OVERFLOWS)
        assert naturals(dice) == Roller(THROW, SEED).naturals(0, made).tolist()
        assert not same(path[0], path[-1])

    def test_another_optimizer_of_the_same_scaler_is_left_alone(self):
        ours, theirs = network(), network()
        optimizers = [sgd(net.parameters()) for net in (ours, theirs)]
        scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
        dice = attach(optimizers[0], HALF, seed=0, scaler=scaler)
        start = network()
        for net, optimizer in zip((ours, theirs), optimizers, strict=True):
            scaler.scale(loss_of(net, data()[0])).backward()
            scaler.step(optimizer)
        for our, their, begin in zip(
            ours.parameters(), theirs.parameters(), start.parameters(), strict=True
        ):
            torch.testing.assert_close(our - begin, 0.5 * (their - begin))
        assert len(dice.rolls.recent) == 1
        dice.remove()
        assert "step" not in vars(scaler)


class TestSchedules:
    @pytest.mark.parametrize("attached", ["before", "after"])
    @pytest.mark.parametrize("target", ["gradient", "update"])
    @pytest.mark.parametrize(
        "schedule", [lambda o: ExponentialLR(o, 0.8), lambda o: OneCycleLR(o, 0.3, 12)]
    )
    def test_rates_are_those_without_dice(self, schedule, target, attached, recwarn):
        def run(dice):
            net = network()
            optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
            if dice and attached == "before":
                attach(optimizer, THROW, target=target, seed=0)
            scheduler = schedule(optimizer)
            if dice and attached == "after":
                attach(optimizer, THROW, target=target, seed=0)
            rates = []
            for batch in data():
                optimizer.zero_grad()
                loss_of(net, batch).backward()
                optimizer.step()
                scheduler.step()
                rates.append(optimizer.param_groups[0]["lr"])
            return rates, optimizer.state_dict()["param_groups"]

        assert run(dice=True) == run(dice=False)
        assert not [w for w in recwarn if "lr_scheduler" in str(w.message)], "it saw the steps"


@pytest.mark.filterwarnings("ignore:.*torch.jit.script")
class TestCompiled:
    def step_of(self, optimizer):
        @torch.compile(backend="eager")
        def step():
            optimizer.step()

        return step

    def test_a_compiled_training_step_rolls_for_its_mini_batch(self):
        torch._dynamo.reset()
        net = network().double()
        optimizer = momentum(net.parameters())
        dice = attach(optimizer, THROW, granularity="per_mini_batch", seed=SEED)

        @torch.compile(backend="eager")
        def train_on(inputs, targets):
            dice.backward(loss_of(net, (inputs, targets)))
            optimizer.step()
            optimizer.zero_grad()

        for inputs, targets in data():
            train_on(inputs.double(), targets.double())
        expected = train(momentum, "per_mini_batch", windows([1] * BATCHES))
        assert apart(net.parameters(), expected) < EXACT

    @pytest.mark.parametrize("target", ["gradient", "update"])
    @pytest.mark.parametrize("attached", ["before", "after"])
    def test_a_compiled_step_is_rolled_for(self, target, attached):
        def run(compiled):
            torch._dynamo.reset()
            net = network().double()
            optimizer = momentum(net.parameters())  # AdamW's own step differs once compiled
            step = self.step_of(optimizer) if compiled else optimizer.step
            dice = None
            for index, batch in enumerate(data()):
                if index == (0 if attached == "before" else 2):
                    dice = attach(optimizer, THROW, target=target, seed=SEED)
                    step = self.step_of(optimizer) if compiled else optimizer.step
                optimizer.zero_grad()
                loss_of(net, (batch[0].double(), batch[1].double())).backward()
                step()
            return net, dice

        ours, dice = run(compiled=True)
        theirs, expected = run(compiled=False)
        assert naturals(dice) == naturals(expected)
        assert len(naturals(dice)) == BATCHES - (0 if attached == "before" else 2)
        assert apart(ours.parameters(), theirs.parameters()) < EXACT

    def test_a_function_that_was_compiled_before_takes_up_the_dice(self):
        torch._dynamo.reset()
        net = network()
        optimizer = sgd(net.parameters())
        step = self.step_of(optimizer)
        for index, batch in enumerate(data()):
            if index == 3:
                dice = attach(optimizer, THROW, seed=SEED)
            optimizer.zero_grad()
            loss_of(net, batch).backward()
            step()
        assert len(naturals(dice)) == BATCHES - 3

    @pytest.mark.parametrize("target", ["gradient", "update"])
    def test_a_step_that_goes_around_the_dice_is_an_error(self, target):
        """Kept from before, as ``torch.compile(optimizer.step)`` keeps it."""
        net = network()
        optimizer = sgd(net.parameters())
        kept = optimizer.step
        attach(optimizer, THROW, target=target, seed=SEED)
        loss_of(net, data()[0]).backward()
        with pytest.raises(SettingError, match=r"optimizer='SGD': its step was kept .* attach"):
            kept()


class TestOptimizers:
    def test_several_have_rolls_of_their_own_and_one_count_of_steps(self):
        nets = network(), network()
        optimizers = [sgd(net.parameters()) for net in nets]
        dice = attach(optimizers, THROW, seed=SEED)
        for batch in data():
            for net, optimizer in zip(nets, optimizers, strict=True):
                optimizer.zero_grad()
                loss_of(net, batch).backward()
                optimizer.step()
        rolled = [(r.step, r.optimizer, r.scale) for r in dice.rolls.recent]
        places = [(step, step % 2) for step in range(2 * BATCHES)]
        assert rolled == [(step, index, factor(step, index)) for step, index in places]

    def test_their_mini_batches_need_a_handle_each(self):
        optimizers = [sgd(network().parameters()) for _ in range(2)]
        with pytest.raises(SettingError, match=r"attach to each of them, with ordinal=0, 1"):
            attach(optimizers, THROW, granularity="per_mini_batch")

    def test_the_same_dice_twice_are_refused_and_others_multiply(self):
        net, start = network(), network()
        optimizer = sgd(net.parameters())
        first = attach(optimizer, HALF, seed=0)
        with pytest.raises(SettingError, match=r"ordinal=0: .* remove\(\) them"):
            attach(optimizer, HALF, seed=0)
        second = attach(optimizer, HALF, target="update", seed=0, ordinal=1)
        loss_of(net, data()[0]).backward()
        optimizer.step()
        for p, begin in zip(net.parameters(), start.parameters(), strict=True):  # p.grad is halved
            torch.testing.assert_close(p, begin - 0.5 * 0.1 * p.grad)
        for _ in range(9):
            optimizer.step()
        assert naturals(first) == Roller(HALF, 0).naturals(0, 10).tolist()
        assert naturals(second) == Roller(HALF, 0, stream=1 << 32).naturals(0, 10).tolist()
        first.remove()
        attach(optimizer, HALF, seed=0)

    @pytest.mark.parametrize("target", ["gradient", "update"])
    def test_a_deep_copy_has_no_dice(self, target):
        net = network()
        optimizer = sgd(net.parameters())
        dice = attach(optimizer, HALF, target=target, seed=0)
        twin = copy.deepcopy(optimizer)
        own = [p for group in twin.param_groups for p in group["params"]]
        before = [p.detach().clone() for p in own]
        for p in own:
            p.grad = torch.ones_like(p)
        twin.step()
        for p, start in zip(own, before, strict=True):
            torch.testing.assert_close(p.detach(), start - 0.1)
        assert naturals(dice) == []
        attach(twin, HALF, target=target, seed=0)

    def test_the_optimizer_is_as_before_once_they_are_removed(self):
        net = network()
        optimizer = adamw(net.parameters())
        attributes = set(vars(optimizer))
        with attach(optimizer, HALF, seed=0) as dice:
            loss_of(net, data()[0]).backward()
            optimizer.step()
        assert set(vars(optimizer)) == attributes
        assert not optimizer._optimizer_step_pre_hooks
        assert not optimizer._optimizer_step_post_hooks
        optimizer.step()
        assert len(dice.rolls.recent) == 1
        dice.remove()

    def test_a_wrapper_with_a_step_of_its_own_is_rolled_for_as_one(self):
        """The likes of Lookahead have an attribute ``optimizer`` too."""

        class Twice(torch.optim.Optimizer):
            def __init__(self, optimizer):
                self.optimizer = optimizer
                super().__init__(optimizer.param_groups, {})

            def step(self, closure=None):
                self.optimizer.step()
                self.optimizer.step()

        net, start = network(), network()
        optimizer = Twice(sgd(net.parameters()))
        dice = attach(optimizer, HALF, target="update", seed=0)
        loss_of(net, data()[0]).backward()
        optimizer.step()
        assert len(naturals(dice)) == 1
        for p, begin in zip(net.parameters(), start.parameters(), strict=True):
            torch.testing.assert_close(p.detach(), (begin - 0.1 * p.grad).detach())


class Ascends(torch.optim.SGD):
    """As SAM does: climbs, evaluates there, goes back and steps by what it found."""

    def step(self, evaluate=None, closure=None):
        held = [p for g in self.param_groups for p in g["params"] if p.grad is not None]
        with torch.no_grad():
            for p in held:
                p.add_(0.5 * p.grad)
        climbed = [p.grad.clone() for p in held]
        with torch.enable_grad():
            (evaluate or closure)()
        with torch.no_grad():
            for p, grad in zip(held, climbed, strict=True):
                if p.grad is not None:
                    p.sub_(0.5 * grad)
        return super().step()


class TestOptimizersFromElsewhere:
    @pytest.mark.parametrize("scope", ["model", "tensor"])
    @pytest.mark.filterwarnings("ignore:.*every roll discards")
    def test_what_is_discarded_stays_though_the_step_climbs_first(self, scope):
        net, start = network(), network()
        optimizer = Ascends(net.parameters(), lr=0.1)
        attach(optimizer, SavingThrow("d4", 2, [None] * 4), scope=scope, seed=0)
        for batch in data()[:3]:

            def closure(batch=batch):
                optimizer.zero_grad()
                loss_of(net, batch).backward()

            closure()
            optimizer.step(closure)
        assert same(net.parameters(), start.parameters())

    @pytest.mark.parametrize("how", ["evaluate", "closure", None])
    def test_a_closure_by_whatever_name(self, how):
        def run(throw):
            net = network()
            optimizer = Ascends(net.parameters(), lr=0.1)
            if throw:
                attach(optimizer, throw, target="gradient", seed=0)

            def closure():
                optimizer.zero_grad()
                loss_of(net, data()[0]).backward()

            closure()
            optimizer.step(*([] if how else [closure]), **({how: closure} if how else {}))
            return torch.cat([p.detach().flatten() for p in net.parameters()])

        start = torch.cat([p.detach().flatten() for p in network().parameters()])
        torch.testing.assert_close(run(HALF) - start, 0.5 * (run(None) - start))


class TestNames:
    def test_are_the_models(self):
        net = nn.DataParallel(network())
        optimizer = sgd(net.parameters())
        dice = attach(optimizer, HALF, include=["0.*"], model=net, seed=0)
        loss_of(net, data()[0]).backward()
        before = [p.grad.clone() for p in net.parameters()]
        optimizer.step()
        for index, (p, grad) in enumerate(zip(net.parameters(), before, strict=True)):
            assert torch.equal(p.grad, grad * (0.5 if index < 2 else 1))
        dice.remove()

    def test_or_those_that_the_optimizer_was_made_with(self, tmp_path):
        optimizer = torch.optim.SGD(network().named_parameters(), lr=0.1)
        attach(optimizer, HALF, exclude=["*.bias"], scope="tensor", seed=0, folder=tmp_path)
        optimizer.step()
        rows = (tmp_path / "slots.csv").read_text().split()
        assert rows == ["optimizer,slot,parameter", "0,0,0.weight", "0,2,2.weight"]

    @pytest.mark.parametrize("model", [None, network()])
    def test_without_any_a_filter_is_refused(self, model):
        """As where the model is another one than is trained."""
        optimizer = sgd(network().parameters())
        with pytest.raises(SettingError, match=r"include=\['0\.\*'\]: .* give model="):
            attach(optimizer, HALF, include=["0.*"], model=model)

    def test_a_pattern_that_matches_nothing_is_refused(self):
        net = network()
        with pytest.raises(SettingError, match=r"include='5\.\*': no parameter has such a name"):
            attach(sgd(net.parameters()), HALF, include=["5.*"], model=net)
