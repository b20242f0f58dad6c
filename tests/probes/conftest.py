"""Losses whose truth is known, and a model that is small enough for a whole Hessian."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from lightning_dice.probes import Objective


class Point(nn.Module):
    def __init__(self, at):
        super().__init__()
        self.at = nn.Parameter(at)


class Classifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 3))

    def predict(self, batch):
        inputs, labels = batch
        return self.layers(inputs), labels


def quadratic(hessian, gradient, at=None):
    """``g x + x H x / 2`` with x measured from the weights."""
    start = torch.zeros(len(gradient), dtype=hessian.dtype) if at is None else at

    def loss(point, _):
        x = point.at - start
        return gradient @ x + x @ hessian @ x / 2, 1

    return Objective(Point(start.clone()), [None], loss)


@pytest.fixture
def bowl():
    """Makes a quadratic: see ``quadratic``."""
    return quadratic


@pytest.fixture
def classifier():
    """A model of 31 weights in double precision, on two batches of different sizes."""
    torch.manual_seed(0)
    model = Classifier().double()
    batches = [(torch.randn(n, 3).double(), torch.randint(3, (n,))) for n in (12, 5)]
    return Objective(model, batches)


@pytest.fixture
def whole_hessian():
    """The Hessian of a classifier, from its loss on all examples at once."""

    def hessian(objective):
        def loss(weights):
            named = objective.layout.unflatten(weights)
            inputs = torch.cat([one for one, _ in objective._batches])
            labels = torch.cat([one for _, one in objective._batches])
            hidden = torch.tanh(F.linear(inputs, named["layers.0.weight"], named["layers.0.bias"]))
            logits = F.linear(hidden, named["layers.2.weight"], named["layers.2.bias"])
            return F.cross_entropy(logits, labels)

        return torch.autograd.functional.hessian(loss, objective.weights)

    return hessian
