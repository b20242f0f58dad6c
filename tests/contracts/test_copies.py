"""Copies of a module that others make while it is trained: they have no dice."""

import copy
import pickle

import pytest
import torch
from lightning.pytorch import Callback, LightningModule
from torch.utils.data import DataLoader

from lightning_dice import SavingThrow, SavingThrowCallback
from support.toy import quiet_trainer

SETTINGS = [
    {"granularity": "per_mini_batch"},
    {"granularity": "per_accumulation_step", "target": "gradient"},
    {"granularity": "per_accumulation_step", "target": "update"},
]


class Net(LightningModule):
    def __init__(self):
        super().__init__()
        self.layer, self.backwards = torch.nn.Linear(4, 1), 0

    def backward(self, loss):
        self.backwards += 1
        loss.backward()

    def training_step(self, batch, batch_idx):
        return self.layer(batch).square().mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Probes(Callback):
    """Copies the module within a mini-batch, and trains the copy for a step."""

    def __init__(self, way):
        self.way, self.copies, self.factors = way, [], []

    def on_after_backward(self, trainer, pl_module):
        twin = self.way(pl_module)
        self.copies.append(twin)
        twin.layer = copy.deepcopy(pl_module.layer)
        twin.zero_grad()
        x = torch.ones(2, 4)
        twin.backward(twin.layer(x).square().mean())
        (true,) = torch.autograd.grad(twin.layer(x).square().mean(), [twin.layer.weight])
        self.factors.append((twin.layer.weight.grad.norm() / true.norm()).item())


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize(
    "way", [copy.copy, copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))]
)
def test_a_copy_that_is_made_within_a_mini_batch_propagates_its_true_loss(way, settings):
    probes, net = Probes(way), Net()
    dice = SavingThrowCallback(SavingThrow("d20", 10), seed=3, **settings)
    trainer = quiet_trainer([dice, probes], max_epochs=1, max_steps=-1)
    trainer.fit(net, DataLoader(torch.randn(48, 4), 4))
    assert probes.factors == pytest.approx([1.0] * len(probes.factors))
    assert dice.rolls.tally.rolls == 12
    twin = probes.copies[-1]
    before = net.backwards, twin.backwards
    twin.backward(twin.layer(torch.ones(2, 4)).square().mean())
    assert (net.backwards, twin.backwards) == (before[0], before[1] + 1)
    assert "backward" not in vars(twin)


@pytest.mark.parametrize("way", [copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_a_callback_that_is_copied_in_training_is_one_that_trains_nothing(settings, way):
    class Copies(Callback):
        def on_train_batch_end(self, *_):
            self.twin = way(dice)

    dice, copies = SavingThrowCallback(SavingThrow("d20", 10), seed=3, **settings), Copies()
    quiet_trainer([dice, copies], max_steps=6).fit(Net(), DataLoader(torch.randn(48, 4), 4))
    assert copies.twin.settings == dice.settings
    assert copies.twin.last_roll == dice.last_roll
    assert dice.rolls.tally.rolls == 6
    trainer = quiet_trainer([copies.twin], max_steps=6)
    trainer.fit(Net(), DataLoader(torch.randn(48, 4), 4))
    assert copies.twin.rolls.tally.counts == dice.rolls.tally.counts
