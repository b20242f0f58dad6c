"""What an optimizer makes of a scaled gradient, measured on each, and the line that says so."""

import logging

import pytest
import torch
from torch import nn

from lightning_dice import SavingThrow, SavingThrowCallback
from lightning_dice.adapters.torch_loop import attach
from lightning_dice.choices import Choices
from lightning_dice.response import gradient_notice, response_of
from support.toy import Toy, adamw, fit, momentum, sgd

OPTIMIZERS = {
    name: kind
    for name, kind in vars(torch.optim).items()
    if isinstance(kind, type) and issubclass(kind, torch.optim.Optimizer)
    if name not in ("Optimizer", "LBFGS", "SparseAdam")
}


def steps(kind, scale, **settings):
    """The optimizer's fourth step, whose gradient is scaled, in units of that of a full one."""
    weight = nn.Parameter(torch.tensor([[1.0, -0.5], [0.25, 2.0]]))
    optimizer = kind([weight], lr=0.01, **settings)
    for _ in range(3):
        weight.grad = torch.tensor([[0.5, 0.1], [-0.2, 0.3]])
        optimizer.step()
    before = weight.detach().clone()
    weight.grad = scale * torch.tensor([[0.5, 0.1], [-0.2, 0.3]])
    optimizer.step()
    return weight.detach() - before


@pytest.mark.parametrize("kind", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_only_a_linear_optimizer_makes_the_step_that_was_rolled(kind):
    full, scaled = steps(kind, 1), steps(kind, -0.5)
    arrived = float((scaled * full).sum() / (full * full).sum())
    response = response_of(kind([nn.Parameter(torch.ones(2, 2))], lr=0.01))
    assert (response == "linear") == (abs(arrived + 0.5) < 0.01)


def test_momentum_is_told_by_the_optimizers_groups():
    weight, other = (nn.Parameter(torch.ones(1)) for _ in range(2))
    groups = [{"params": [weight]}, {"params": [other], "momentum": 0.9}]
    assert response_of(torch.optim.SGD([weight], lr=0.1)) == "linear"
    assert response_of(torch.optim.SGD([weight], lr=0.1, momentum=0.9)) == "momentum"
    assert response_of(torch.optim.SGD(groups, lr=0.1)) == "momentum"


def test_what_derives_from_gradient_descent_is_not_known():
    class Mine(torch.optim.SGD):
        pass

    assert response_of(Mine([nn.Parameter(torch.ones(1))], lr=0.1)) == "unknown"


def notices(caplog, model, **choices):
    throw = choices.pop("throw", SavingThrow("d20", threshold=10))
    with caplog.at_level(logging.INFO):
        fit(model, [SavingThrowCallback(throw, seed=0, **choices)])
    return [text for text in caplog.messages if "makes the step what the die says" in text]


class TestTheLineAtTheStart:
    def test_of_an_adaptive_optimizer(self, caplog):
        assert notices(caplog, Toy(adamw)) == [
            "AdamW rescales gradients: a scale of -0.5 will still move the weights forwards; "
            "target='update' makes the step what the die says"
        ]

    def test_of_momentum(self, caplog):
        (notice,) = notices(caplog, Toy(momentum))
        assert "SGD mixes gradients with those of earlier steps (momentum)" in notice

    @pytest.mark.parametrize(
        ("model", "choices"),
        [
            (Toy(sgd), {}),
            (Toy(adamw), {"target": "update"}),
            (Toy(adamw), {"throw": SavingThrow("d4", 2, [None, 1, None, 1])}),
        ],
        ids=["descent", "update", "all-or-nothing"],
    )
    def test_where_steps_are_what_the_die_says_there_is_none(self, caplog, model, choices):
        assert notices(caplog, model, **choices) == []

    @pytest.mark.parametrize(
        "choices", [{"granularity": "per_mini_batch"}, {"skip_discarded": True}, {}]
    )
    def test_its_advice_is_accepted(self, caplog, choices):
        (notice,) = notices(caplog, Toy(adamw), **choices)
        changed = dict(choices, target="update")
        if "per_accumulation_step" in notice:
            changed["granularity"] = "per_accumulation_step"
        if "without skip_discarded" in notice:
            del changed["skip_discarded"]
        caplog.clear()
        assert notices(caplog, Toy(adamw), **changed) == []

    def test_it_is_said_once_for_optimizers_of_one_kind(self, caplog):
        class Two(Toy):
            automatic_optimization = False

            def training_step(self, batch, batch_idx):
                for optimizer in self.optimizers():
                    optimizer.zero_grad()
                    self.manual_backward(super().training_step(batch, batch_idx))
                    optimizer.step()

            def configure_optimizers(self):
                return [adamw(self.net[0].parameters()), adamw(self.net[2].parameters())]

        assert len(notices(caplog, Two())) == 1


def test_a_notice_speaks_of_no_optimizer_whose_parameters_are_not_rolled(caplog):
    assert notices(caplog, Toy(adamw), include=["net.*"]) != []
    choices = Choices(target="gradient")
    assert gradient_notice(torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=0.1), choices) is None


def test_a_loop_of_ones_own_is_told_too(caplog):
    optimizer = torch.optim.AdamW([nn.Parameter(torch.ones(1))])
    with caplog.at_level(logging.WARNING), attach(optimizer, seed=0):
        pass
    assert "AdamW rescales gradients" in caplog.text
