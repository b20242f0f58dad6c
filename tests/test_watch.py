"""Nothing that has dice is silent for a whole training: where weights move without a roll."""

import gc
from functools import partial

import pytest
import torch
from lightning.pytorch import LightningModule

from lightning_dice import SavingThrow, SavingThrowCallback
from lightning_dice.adapters.torch_loop import attach
from support.toy import adamw, data, loader, loss_of, network, quiet_trainer, sgd

THROW = SavingThrow("d20", threshold=10)
BY_ANOTHER = r"SGD steps the parameters of AdamW without a roll, .* attach the dice to this SGD"
NEVER = r"the parameters of AdamW were trained without a single roll"


def steps(net, step, count=5):
    for batch in data()[:count]:
        for p in net.parameters():
            p.grad = None
        loss_of(net, batch).backward()
        step()


def begin(**settings):
    net = network()
    optimizer = adamw(net.parameters())
    return net, optimizer, attach(optimizer, THROW, seed=0, **settings)


class Hidden(torch.optim.Optimizer):
    """Has a step by another name, and one inside."""

    def __init__(self, parameters):
        self.inside = sgd(list(parameters))
        super().__init__(self.inside.param_groups, {})

    def step(self, closure=None):
        raise NotImplementedError

    def update(self):
        self.inside.step()


def test_another_optimizer_that_steps_the_parameters_is_noticed_while_it_does():
    net, _, dice = begin()
    with pytest.warns(UserWarning, match=BY_ANOTHER) as caught:
        steps(net, sgd(net.parameters()).step)
    assert len(caught) == 1
    dice.remove()


def test_a_wrapper_whose_step_has_another_name():
    net = network()
    optimizer = Hidden(net.parameters())
    attach(optimizer, THROW, seed=0)
    with pytest.warns(UserWarning, match="SGD steps the parameters of Hidden"):
        steps(net, optimizer.update)


def test_an_optimizer_that_is_made_anew_while_training_runs():
    net, optimizer, dice = begin()
    steps(net, optimizer.step)
    with pytest.warns(UserWarning, match=BY_ANOTHER):
        steps(net, sgd(net.parameters()).step)
    assert dice.rolls.tally.rolls == 5


@pytest.mark.parametrize("end", ["remove", "state_dict", "with", "collected"])
def test_what_never_calls_a_step_is_noticed_at_the_end(end):
    net, optimizer, dice = begin()

    def by_hand():
        with torch.no_grad():
            for p in net.parameters():
                p.sub_(p.grad, alpha=0.1)

    steps(net, by_hand, 1)
    ends = {"with": partial(dice.__exit__, None, None, None), "collected": gc.collect}
    ending = ends.get(end) or getattr(dice, end)
    if end == "collected":
        del dice, optimizer, ends
    with pytest.warns(UserWarning, match=NEVER) as caught:
        ending()
    assert len(caught) == 1


def test_two_steps_by_another_optimizer_are_noticed_at_the_end():
    net, _, dice = begin()
    steps(net, sgd(net.parameters()).step, 2)
    with pytest.warns(UserWarning, match=NEVER):
        dice.remove()


@pytest.mark.filterwarnings("error")
class TestSilence:
    def test_weights_that_are_only_loaded(self):
        net, _, dice = begin()
        net.load_state_dict(network().state_dict())
        loss_of(net, data()[0]).backward()
        net.zero_grad()
        dice.state_dict()
        dice.load_state_dict(dice.state_dict())
        dice.remove()

    def test_training_that_is_rolled_for(self):
        net, optimizer, dice = begin()
        steps(net, optimizer.step)
        dice.remove()

    def test_a_wrapper_around_the_optimizer_that_has_the_dice(self):
        net = network()
        optimizer = Hidden(net.parameters())
        dice = attach(optimizer.inside, THROW, seed=0)
        steps(net, optimizer.update)
        dice.remove()
        assert len(dice.rolls.recent) == 5

    def test_an_optimizer_inside_another_that_has_dice_too(self):
        """As where a model is trained again, and the dice of its first training are still there."""
        net, optimizer, _ = begin()
        steps(net, optimizer.step)

        class Wraps(Hidden):
            def step(self, closure=None):
                self.inside.step()

        second = Wraps(net.parameters())
        dice = attach(second, THROW, seed=0)
        steps(net, second.step)
        assert len(dice.rolls.recent) == 5

    def test_optimizers_of_other_parameters_and_of_other_dice(self):
        net, optimizer, dice = begin()
        steps(network(), sgd(network().parameters()).step)
        other = sgd(net.parameters())
        second = attach(other, THROW, seed=0)
        steps(net, other.step)
        steps(net, optimizer.step)
        assert len(dice.rolls.recent) == len(second.rolls.recent) == 5

    def test_others_are_not_watched_once_the_dice_are_gone(self):
        net, optimizer, dice = begin()
        steps(net, optimizer.step)
        dice.remove()
        steps(net, sgd(net.parameters()).step)


class ByHand(LightningModule):
    """Optimizes by itself, by a step that Lightning does not see."""

    automatic_optimization = False

    def __init__(self, make, step):
        super().__init__()
        self.net, self.make, self.by = network(), make, step

    def configure_optimizers(self):
        return self.make(self.net.parameters())

    def training_step(self, batch, batch_idx):
        optimizer = self.optimizers()
        optimizer.zero_grad()
        self.manual_backward(loss_of(self.net, batch))
        self.by(optimizer)


BY_LIGHTNING = {
    "the optimizer inside its wrapper": (
        adamw,
        lambda o: o.optimizer.step(),
        "without|nothing was",
    ),
    "one inside it": (Hidden, lambda o: o.inside.step(), "SGD steps the parameters of Hidden"),
    "one with another name": (Hidden, lambda o: o.update(), "SGD steps the parameters of Hidden"),
}


@pytest.mark.parametrize("how", BY_LIGHTNING)
@pytest.mark.parametrize("target", ["gradient", "update"])
def test_in_lightning(how, target):
    make, step, said = BY_LIGHTNING[how]
    dice = SavingThrowCallback(THROW, target=target, seed=0)
    with pytest.warns(UserWarning, match=said) as caught:
        quiet_trainer([dice], max_steps=-1, max_epochs=1).fit(ByHand(make, step), loader())
    assert len([w for w in caught if "roll" in str(w.message)]) == 1
    assert not dice.rolls.tally.rolls


@pytest.mark.filterwarnings("ignore:.*torch.jit.script")
def test_a_compiled_step_of_another_optimizer_breaks_into_no_more_graphs():
    def graphs(watched):
        torch._dynamo.reset()
        compiled = []

        def backend(graph, _):
            compiled.append(graph)
            return graph.forward

        dice = begin()[2] if watched else None
        net = network()
        other = sgd(net.parameters())
        loss_of(net, data()[0]).backward()

        @torch.compile(backend=backend)
        def step():
            other.step()

        for _ in range(3):
            step()
        if dice is not None:
            dice.remove()
        return len(compiled)

    assert graphs(watched=True) == graphs(watched=False)
