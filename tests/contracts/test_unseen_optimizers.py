"""Discards under optimizers that nobody here has seen: they count and move wherever they like.

What is compared is all that such an optimizer has, found by its attributes: this knows nothing of
how a discard is made.
"""

import copy

import pytest
import torch
from torch import Tensor

from lightning_dice import SavingThrow, SavingThrowCallback
from lightning_dice.adapters.torch_loop import attach
from support.toy import Toy, data, fit, loss_of, network

FACTORS = [None, None, 1.0, 0.5, -0.5, None]
THROW = SavingThrow("d6", 2, FACTORS)


class WarmsUp(torch.optim.SGD):
    """Has another learning rate for the time of its step, set before the closure is evaluated."""

    count = 0

    def __init__(self, parameters):
        super().__init__(parameters, lr=0.1, momentum=0.9)

    def step(self, closure=None):
        self.count += 1
        for group in self.param_groups:
            group["own"], group["lr"] = group["lr"], group["lr"] * min(1, self.count / 10)
        loss = super().step(closure)
        for group in self.param_groups:
            group["lr"] = group.pop("own")
        return loss


class Extrapolates(torch.optim.SGD):
    """Evaluates its gradients ahead of the weights, and counts before it does."""

    def __init__(self, parameters):
        super().__init__(parameters, lr=0.05, momentum=0.9)

    @torch.no_grad()
    def step(self, closure=None):
        parameters = [p for group in self.param_groups for p in group["params"]]
        for p in parameters:
            state = self.state[p]
            state["count"] = state.get("count", 0) + 1
            last = state.setdefault("last", p.clone())
            ahead = p + 0.5 * (p - last)
            last.copy_(p)
            p.copy_(ahead)
        loss = None if closure is None else torch.enable_grad()(closure)()
        super().step()
        return loss


class LooksAhead(torch.optim.Optimizer):
    """Moves its parameters every other step, whether they have gradients or not.

    The slow weights are in ``state``, in a dictionary by parameter or by its id, or in lists.
    """

    def __init__(self, parameters, keeps="state"):
        parameters = list(parameters)
        self.optimizer = torch.optim.SGD(parameters, lr=0.1, momentum=0.9)
        super().__init__(parameters, {"count": 0})
        own = [(p, p.detach().clone() + 1) for g in self.param_groups for p in g["params"]]
        self.keeps = keeps
        if keeps == "state":
            for p, slow in own:
                self.state[p] = {"slow": slow, "moved": 0}
        elif keeps == "by parameter":
            self.slow = dict(own)
        elif keeps == "by id":
            self.slow = {id(p): slow for p, slow in own}
        elif keeps == "list":
            self.slow = [slow for _, slow in own]
        elif keeps == "lists":
            self.slow = [[p.detach().clone() + 1 for p in g["params"]] for g in self.param_groups]

    def slow_of(self, group, place, p):
        if self.keeps == "state":
            self.state[p]["moved"] += 1
            return self.state[p]["slow"]
        if self.keeps in ("by parameter", "by id"):
            return self.slow[p if self.keeps == "by parameter" else id(p)]
        if self.keeps == "lists":
            return self.slow[group][place]
        before = sum(len(g["params"]) for g in self.param_groups[:group])
        return self.slow[before + place]

    def step(self, closure=None):
        loss = self.optimizer.step(closure)
        for index, group in enumerate(self.param_groups):
            group["count"] += 1
            if group["count"] % 2 == 0:
                for place, p in enumerate(group["params"]):
                    slow = self.slow_of(index, place, p)
                    slow.lerp_(p.detach(), 0.5)
                    p.data.copy_(slow)
        return loss


class LazyState(torch.optim.Optimizer):
    """Makes state for every parameter in its first step, and new tensors for it in each."""

    def __init__(self, parameters):
        super().__init__(parameters, {"lr": 0.1, "step": 0})

    @torch.no_grad()
    def step(self, closure=None):
        loss = None if closure is None else torch.enable_grad()(closure)()
        for group in self.param_groups:
            group["step"] += 1
            for p in group["params"]:
                state = self.state[p]
                state["ages"] = [*state.get("ages", []), group["step"]]
                state["mean"] = 0.9 * state.get("mean", torch.zeros_like(p)) + (
                    0 if p.grad is None else p.grad
                )
                p.sub_(state["mean"], alpha=group["lr"])
        return loss


KINDS = {
    "warms up": WarmsUp,
    "extrapolates": Extrapolates,
    "lazy": LazyState,
    **{
        f"looks ahead, {keeps}": lambda p, keeps=keeps: LooksAhead(p, keeps)
        for keeps in ("state", "by parameter", "by id", "list", "lists")
    },
}
PACKAGED = {
    "Lookahead": lambda p, package: package.Lookahead(torch.optim.SGD(p, lr=0.1, momentum=0.9), 2),
    "Prodigy": lambda p, package: package.Prodigy(list(p)),
    "ScheduleFreeSGD": lambda p, package: package.ScheduleFreeSGD(list(p), lr=0.1),
}


def everything(value, names, inside=()):
    """All that can be reached from an optimizer, as plain values, with names for parameters."""
    if id(value) in names:
        return names[id(value)]
    if isinstance(value, Tensor):
        return value.detach().tolist()
    if isinstance(value, dict):
        named = {names.get(k if type(k) is int else id(k), k): v for k, v in value.items()}
        return {
            str(k): everything(v, names, inside)
            for k, v in named.items()
            if not str(k).startswith(("_", "defaults"))
        }
    if isinstance(value, list | tuple):
        return [everything(one, names, inside) for one in value]
    if hasattr(value, "param_groups") and id(value) not in inside:
        return everything(vars(value), names, (*inside, id(value)))
    return value if isinstance(value, int | float | str) else None


def of_the_parameter(found, name):
    """The part of it that belongs to one parameter."""
    if isinstance(found, dict):
        own = {key: of_the_parameter(value, name) for key, value in found.items() if key != name}
        own = {key: value for key, value in own.items() if value}
        return {**own, **({name: found[name]} if name in found else {})}
    return None


def closure_of(net, optimizer, batch):
    def closure():
        optimizer.zero_grad()
        loss = loss_of(net, batch)
        loss.backward()
        return loss

    return closure


def step(net, optimizer, batch, closure):
    evaluate = closure_of(net, optimizer, batch)
    if closure:
        return optimizer.step(evaluate)
    evaluate()
    return optimizer.step()


def state_of(net, optimizer):
    names = {id(p): name for name, p in net.named_parameters()}
    weights = {name: p.tolist() for name, p in net.named_parameters()}
    return copy.deepcopy((weights, everything(optimizer, names)))


@pytest.mark.parametrize("closure", [True, False], ids=["closure", "no closure"])
@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_a_discard_leaves_all_of_it_as_it_was(kind, closure):
    net = network()
    optimizer = kind(net.parameters())
    dice = attach(optimizer, THROW, seed=1)
    changed = discarded = 0
    for batch in data():
        before = state_of(net, optimizer)
        loss = step(net, optimizer, batch, closure)
        assert (loss is not None) == closure, "the step returns what its closure did"
        if dice.rolls.recent[-1].scale is None:
            discarded += 1
            assert state_of(net, optimizer) == before
        else:
            changed += state_of(net, optimizer) != before
    assert discarded > 3
    assert changed > 3


@pytest.mark.parametrize("keeps", ["state", "by parameter", "by id"])
@pytest.mark.parametrize("kind", [LooksAhead, LazyState, Extrapolates])
def test_a_discarded_tensor_stays_with_its_state(kind, keeps):
    net = network()
    optimizer = kind(net.parameters(), *([keeps] if kind is LooksAhead else []))
    dice = attach(optimizer, THROW, scope="tensor", seed=1)
    names = [name for name, _ in net.named_parameters()]
    stayed = 0
    for batch in data():
        weights, state = state_of(net, optimizer)
        step(net, optimizer, batch, closure=True)
        after, state_after = state_of(net, optimizer)
        for record, name in zip(list(dice.rolls.recent)[-len(names) :], names, strict=True):
            if record.scale is None:
                stayed += 1
                assert after[name] == weights[name]
                assert of_the_parameter(state_after, name) == of_the_parameter(state, name)
            else:
                assert after[name] != weights[name]
    assert stayed > 8


@pytest.mark.parametrize("keeps", ["list", "lists"])
def test_lists_that_run_along_the_parameters_are_state_too(keeps):
    net = network()
    optimizer = LooksAhead(net.parameters(), keeps)
    dice = attach(optimizer, THROW, scope="tensor", seed=1)
    stayed = 0
    for batch in data():
        before = copy.deepcopy(optimizer.slow)
        step(net, optimizer, batch, closure=False)
        lists = (before, optimizer.slow) if keeps == "list" else (before[0], optimizer.slow[0])
        records = list(dice.rolls.recent)[-4:]
        for record, old, new in zip(records, *lists, strict=True):
            if record.scale is None:
                stayed += 1
                assert torch.equal(old, new)
    assert stayed > 8


def test_a_discarded_group_keeps_its_settings():
    net = network()
    first, second = list(net[0].parameters()), list(net[2].parameters())
    optimizer = LazyState([{"params": first}, {"params": second}])
    dice = attach(optimizer, THROW, scope="param_group", seed=1)
    kept = [0, 0]
    for batch in data():
        step(net, optimizer, batch, closure=False)
        for slot, record in enumerate(list(dice.rolls.recent)[-2:]):
            kept[slot] += record.scale is not None
        assert [group["step"] for group in optimizer.param_groups] == kept
    assert 0 < kept[0] < len(data())


@pytest.mark.parametrize("kind", PACKAGED.values(), ids=PACKAGED)
@pytest.mark.parametrize("scope", ["model", "tensor"])
def test_packaged_ones(kind, scope):
    package = pytest.importorskip("pytorch_optimizer")
    net = network()
    optimizer = kind(net.parameters(), package)
    dice = attach(optimizer, THROW, scope=scope, seed=1)
    names = [name for name, _ in net.named_parameters()]
    stayed = 0
    for batch in data():
        weights, state = state_of(net, optimizer)
        step(net, optimizer, batch, closure=False)
        after, state_after = state_of(net, optimizer)
        slots = names if scope == "tensor" else [None]
        for record, name in zip(list(dice.rolls.recent)[-len(slots) :], slots, strict=True):
            if record.scale is not None:
                continue
            stayed += 1
            if name is None:
                assert (after, state_after) == (weights, state)
            else:
                assert after[name] == weights[name]
                assert of_the_parameter(state_after, name) == of_the_parameter(state, name)
    assert stayed > 3


@pytest.mark.parametrize("granularity", ["per_accumulation_step", "per_mini_batch"])
@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_under_lightning_which_always_steps_with_a_closure(kind, granularity):
    seen = []

    class Watched(Toy):
        def optimizer_step(self, epoch, batch_idx, optimizer, optimizer_closure=None):
            inside = getattr(optimizer, "optimizer", optimizer)
            before = state_of(self.net, inside)
            super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
            seen.append(state_of(self.net, inside) == before)

    dice = SavingThrowCallback(THROW, seed=1, granularity=granularity)
    model = Watched(kind)
    fit(model, [dice], max_steps=24)
    assert seen == [record.scale is None for record in dice.rolls.recent]
    assert len(model.losses) == 24, "each mini-batch is computed once, except by who asks again"


@pytest.mark.parametrize("accumulate", [2, 3])
def test_a_window_of_discarded_mini_batches_leaves_the_optimizer_alone(accumulate):
    counts = []

    class Watched(Toy):
        def on_train_batch_end(self, *_):
            counts.append(self.trainer.optimizers[0].count)

    dice = SavingThrowCallback(THROW, seed=1, granularity="per_mini_batch")
    fit(Watched(WarmsUp), [dice], max_steps=12, accumulate_grad_batches=accumulate)
    records = list(dice.rolls.recent)
    windows = [records[i : i + accumulate] for i in range(0, len(records), accumulate)]
    made = [any(record.scale is not None for record in window) for window in windows]
    assert counts[accumulate - 1 :: accumulate] == [sum(made[: i + 1]) for i in range(len(made))]
    assert False in made


def test_a_first_step_that_is_discarded_is_one_for_schedulers_and_hooks():
    net, calls = network(), []
    optimizer = LazyState(net.parameters())
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1)
    optimizer.register_step_pre_hook(lambda *_: calls.append("before"))
    optimizer.register_step_post_hook(lambda *_: calls.append("after"))
    dice = attach(optimizer, SavingThrow("d2", 1, [None, 1.0]), seed=2)
    while not dice.rolls.recent or dice.rolls.recent[-1].scale is None:
        step(net, optimizer, data()[0], closure=True)
        scheduler.step()  # warnings are errors here
    assert dice.rolls.recent[0].scale is None, "the case at hand"
    assert calls == ["before", "after"] * len(dice.rolls.recent)


def test_two_saving_throws_roll_for_every_step_that_either_discards():
    net = network()
    optimizer = WarmsUp(net.parameters())
    inner = attach(optimizer, THROW, seed=1)
    outer = attach(optimizer, THROW, seed=2, ordinal=1)
    for batch in data():
        before = state_of(net, optimizer)[0]
        step(net, optimizer, batch, closure=True)
        gone = None in (inner.rolls.recent[-1].scale, outer.rolls.recent[-1].scale)
        assert (state_of(net, optimizer)[0] == before) == gone
    assert inner.rolls.tally.rolls == outer.rolls.tally.rolls == len(data())
