"""Parameters that join while training runs are chosen by name, as those that were there before."""

import pytest
import torch
from lightning.pytorch import LightningModule
from transformers import TrainerCallback

from lightning_dice import SavingThrow, SavingThrowCallback
from lightning_dice.adapters.huggingface import SavingThrowTrainerCallback
from lightning_dice.adapters.torch_loop import attach
from support.hf import Regression, trainer
from support.toy import loader, loss_of, network, quiet_trainer

DISCARD = SavingThrow("d2", 1, scaling=[None, None])
BEFORE, AFTER = 3, 3

pytestmark = pytest.mark.filterwarnings("ignore:.*every roll discards")


class Grows(torch.nn.Module):
    """The toy, with an adapter that is added later."""

    def __init__(self):
        super().__init__()
        self.base = network()

    def grow(self):
        self.adapter = torch.nn.Linear(3, 1)

    def forward(self, inputs):
        out = self.base(inputs)
        return out + self.adapter(inputs) if hasattr(self, "adapter") else out


def still(module, before):
    return [bool(torch.equal(p, q)) for p, q in zip(module.parameters(), before, strict=True)]


def snapshot(module):
    return [p.detach().clone() for p in module.parameters()]


# What is chosen by its name, and whether weight and bias of the adapter are.
CHOSEN = [
    ({"include": ["*.bias"]}, [False, True]),
    ({"exclude": ["*.bias"]}, [True, False]),
    ({}, [True, True]),
]


@pytest.mark.parametrize(("patterns", "kept"), CHOSEN)
@pytest.mark.parametrize("target", ["gradient", "update"])
@pytest.mark.parametrize("named", ["by model", "by optimizer"])
def test_in_a_loop_of_ones_own(named, target, patterns, kept):
    net = Grows()
    given = net.parameters() if named == "by model" else net.named_parameters()
    optimizer = torch.optim.SGD(given, lr=0.1)
    model = net if named == "by model" else None
    attach(optimizer, DISCARD, target=target, model=model, seed=0, **patterns)
    for step in range(BEFORE + AFTER):
        if step == BEFORE:
            net.grow()
            named_late = [(f"adapter.{n}", p) for n, p in net.adapter.named_parameters()]
            late = net.adapter.parameters() if named == "by model" else named_late
            optimizer.add_param_group({"params": list(late)})
            start = snapshot(net.adapter)
        optimizer.zero_grad()
        inputs = torch.ones(4, 3)
        (net(inputs) - 1).square().mean().backward()
        optimizer.step()
    assert still(net.adapter, start) == kept


@pytest.mark.parametrize(("patterns", "kept"), CHOSEN)
def test_in_lightning(patterns, kept):
    class Model(LightningModule):
        def __init__(self):
            super().__init__()
            self.net = Grows()

        def training_step(self, batch, batch_idx):
            if batch_idx == BEFORE:
                self.net.grow()
                self.optimizers().add_param_group({"params": self.net.adapter.parameters()})
                self.start = snapshot(self.net.adapter)
            return loss_of(self.net, batch)

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

    model = Model()
    dice = SavingThrowCallback(DISCARD, seed=0, **patterns)
    quiet_trainer([dice], max_steps=BEFORE + AFTER).fit(model, loader())
    assert still(model.net.adapter, model.start) == kept


@pytest.mark.parametrize(("patterns", "kept"), CHOSEN)
def test_in_a_trainer_of_huggingfaces(patterns, kept, tmp_path):
    class Adds(TrainerCallback):
        def on_step_end(self, args, state, control, model=None, optimizer=None, **kwargs):
            if state.global_step == BEFORE:
                model.net.grow()
                optimizer.param_groups[0]["params"] += model.net.adapter.parameters()
                self.start = snapshot(model.net.adapter)

    model, adds = Regression(), Adds()
    model.net = Grows()
    dice = SavingThrowTrainerCallback(DISCARD, seed=0, **patterns)
    trainer(tmp_path, [dice, adds], model=model).train()
    assert still(model.net.adapter, adds.start) == kept
