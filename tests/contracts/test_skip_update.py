"""target=update, scope=tensor, scaling=skip, normalize=mean is SkipUpdate (arXiv:2602.15322)."""

import copy
from functools import partial

import pytest
import torch
from lightning.pytorch import LightningModule
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

from lightning_dice import SavingThrow, SavingThrowCallback
from lightning_dice.rules import Roller
from support import skip_update as reference
from support.toy import quiet_trainer

STEPS, SEED, WIDTH, LETTERS = 40, 11, 6, 9
HIDDEN = ["*.attention.weight", "*.mlp.weight"]
# Two ways to say Bernoulli(1/2) with the factor 2: a coin, and a table of one's own.
COIN = SavingThrow("d2", 2, scaling="skip", normalize="mean")
TABLE = SavingThrow("d4", 3, scaling=[None, None, 1, 1], normalize="mean")
D20 = SavingThrow("d20", 10, scaling="skip", normalize="mean")

# For each optimizer torch's own and the one that is written out in the reference.
BASES = {
    "adamw": (
        partial(torch.optim.AdamW, lr=0.02, betas=(0.9, 0.99), weight_decay=0.0),
        reference.adamw(lr=0.02, betas=(0.9, 0.99)),
    ),
    "adamw, decoupled decay": (
        partial(torch.optim.AdamW, lr=0.02, betas=(0.9, 0.99), weight_decay=0.1),
        reference.adamw(lr=0.02, betas=(0.9, 0.99), weight_decay=0.1),
    ),
    "rmsprop": (
        partial(torch.optim.RMSprop, lr=0.005, alpha=0.95, weight_decay=0.0),
        reference.rmsprop(lr=0.005, alpha=0.95),
    ),
}
STATES = {"exp_avg": "mean", "exp_avg_sq": "square", "square_avg": "square"}


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = nn.LayerNorm(WIDTH)
        self.attention = nn.Linear(WIDTH, WIDTH)  # a name is all that it shares with attention
        self.mlp = nn.Linear(WIDTH, WIDTH)

    def forward(self, x):
        return x + self.mlp(torch.tanh(self.attention(self.norm(x))))


def network():
    net = nn.Sequential()
    net.add_module("tokens", nn.Embedding(LETTERS, WIDTH))
    net.add_module("blocks", nn.Sequential(Block(), Block()))
    net.add_module("norm", nn.LayerNorm(WIDTH))
    net.add_module("head", nn.Linear(WIDTH, LETTERS))
    generator = torch.Generator().manual_seed(3)
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.4, generator=generator)
    return net


def loss_of(net, batch):
    inputs, targets = batch
    return cross_entropy(net(inputs), targets)


class Letters(LightningModule):
    def __init__(self, optimizer):
        super().__init__()
        self.net = network()
        self.factory = optimizer

    def training_step(self, batch, batch_idx):
        return loss_of(self.net, batch)

    def configure_optimizers(self):
        return self.factory(self.parameters())


def data():
    generator = torch.Generator().manual_seed(4)
    letters = torch.randint(0, LETTERS, (STEPS * 8,), generator=generator)
    return TensorDataset(letters, (letters * 2 + 1) % LETTERS)


def run(optimizer, throw, target="update"):
    """Weights and optimizer state by parameter name, of a Lightning run in float64."""
    model = Letters(optimizer)
    dice = SavingThrowCallback(throw, target=target, scope="tensor", include=HIDDEN, seed=SEED)
    trainer = quiet_trainer([dice], max_steps=STEPS, precision="64-true")
    trainer.fit(model, DataLoader(data(), 8))
    state = trainer.optimizers[0].state
    named = dict(model.net.named_parameters())
    return named, {name: state[parameter] for name, parameter in named.items()}


def plain(base, factors):
    """The same of the reference."""
    net = copy.deepcopy(network()).double()
    moments = reference.skip_update(net, loss_of, DataLoader(data(), 8), base, factors)
    return dict(net.named_parameters()), moments


def factors_of(throw, rule):
    """What ``rule`` makes of the faces that were rolled for each of the four hidden matrices."""
    roller = Roller(throw, SEED, stream=0)
    blocks = {
        name: [rule(int(face)) for face in roller.naturals(0, STEPS, slot)]
        for slot, (name, parameter) in enumerate(network().named_parameters())
        if name.endswith(("attention.weight", "mlp.weight"))
    }
    assert len(blocks) == 4
    return blocks


def apart(ours, theirs):
    """The largest relative distance of two sets of tensors."""
    assert ours.keys() == theirs.keys()
    with torch.no_grad():
        return max(
            float((ours[name] - theirs[name]).abs().max() / theirs[name].abs().max())
            for name in theirs
        )


def assert_equal(ours, theirs):
    weights, states = ours
    expected, moments = theirs
    assert all(weight.dtype is torch.float64 for weight in weights.values())
    assert apart(weights, expected) < 1e-12
    for torchs, own in STATES.items():
        kept = {name: state[torchs] for name, state in states.items() if torchs in state}
        if kept:  # dense: as many entries as there are parameters, none of them left behind
            assert apart(kept, {name: moment[own] for name, moment in moments.items()}) < 1e-12


@pytest.mark.parametrize(("optimizer", "base"), BASES.values(), ids=BASES)
@pytest.mark.parametrize("throw", [COIN, TABLE], ids=["coin", "table"])
def test_to_the_letter(optimizer, base, throw):
    masks = factors_of(throw, lambda face: 2.0 if face > throw.die.sides / 2 else 0.0)
    flat = [factor for mask in masks.values() for factor in mask]
    assert 0.35 < flat.count(2.0) / len(flat) < 0.65
    assert len({tuple(mask) for mask in masks.values()}) == 4, "each block has a mask of its own"
    assert_equal(run(optimizer, throw), plain(base, masks))


@pytest.mark.parametrize(("optimizer", "base"), BASES.values(), ids=BASES)
def test_with_a_d20_the_factors_are_random_and_their_mean_is_one(optimizer, base):
    mean = (sum(range(10, 20)) / 20 + 1) / 20

    def rule(face):
        return 0.0 if face < 10 else min(face / 20, 1.0) / mean

    assert sum(map(rule, range(1, 21))) / 20 == pytest.approx(1, rel=1e-15)
    assert_equal(run(optimizer, D20), plain(base, factors_of(D20, rule)))


def test_it_is_not_what_scaled_gradients_do():
    optimizer, base = BASES["adamw"]
    masks = factors_of(COIN, lambda face: 2.0 if face == 2 else 0.0)
    weights, _ = run(optimizer, COIN, target="gradient")
    assert apart(weights, plain(base, masks)[0]) > 1e-2


def test_the_throws_are_bernoulli_of_one_half_with_the_factor_two():
    for throw in (COIN, TABLE):
        odds = throw.odds()
        assert {scale: float(p) for scale, p in odds.scales.items()} == {None: 0.5, 2: 0.5}
        assert (odds.mean, odds.efficiency) == (1, 0.5)
