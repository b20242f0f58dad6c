"""The loss as a function of weights: against closed forms and against the model itself."""

import numpy as np
import pytest
import torch
from torch import nn

from lightning_dice.app.models.gpt import LanguageModel
from lightning_dice.probes import Layout, Objective
from lightning_dice.probes.weights import flat_weights

GENERATOR = torch.Generator().manual_seed(0)
HALF = torch.randn(6, 6, generator=GENERATOR, dtype=torch.float64)
HESSIAN = HALF @ HALF.T
CENTRE = torch.randn(6, generator=GENERATOR, dtype=torch.float64)


class Bowl(nn.Module):
    """(w - c) H (w - c) / 2, its weights in two tensors."""

    def __init__(self):
        super().__init__()
        self.matrix = nn.Parameter(torch.arange(4.0, dtype=torch.float64).reshape(2, 2))
        self.vector = nn.Parameter(torch.ones(2, dtype=torch.float64))
        self.frozen = nn.Parameter(torch.ones(3), requires_grad=False)


def bowl_loss(bowl, batch):
    away = torch.cat([bowl.matrix.flatten(), bowl.vector]) - CENTRE
    return batch * away @ HESSIAN @ away / 2, int(batch)


@pytest.fixture
def bowl():
    return Objective(Bowl(), [torch.tensor(1.0), torch.tensor(3.0)], bowl_loss)


MEAN_FACTOR = (1 * 1 + 3 * 3) / 4
"""What the two batches, of 1 and 3 examples, make of the loss."""


class TestLayout:
    def test_frozen_weights_are_not_in_it(self):
        assert Layout.of(Bowl()) == Layout(("matrix", "vector"), ((2, 2), (2,)))

    def test_there_and_back(self):
        module = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Linear(4, 5))
        layout, vector = Layout.of(module), flat_weights(module)
        named = layout.unflatten(vector)
        assert layout.size == len(vector) == sum(p.numel() for p in module.parameters())
        assert all(torch.equal(named[name], p) for name, p in module.named_parameters())
        assert torch.equal(layout.flatten(named), vector)

    def test_a_copy_does_not_follow_the_module(self):
        module = nn.Linear(2, 2)
        vector = flat_weights(module)
        with torch.no_grad():
            module.weight.zero_()
        assert vector[:4].abs().sum() > 0


class TestObjective:
    def test_loss_and_derivatives_are_those_of_the_quadratic(self, bowl):
        at = torch.linspace(-1, 1, 6, dtype=torch.float64)
        along = torch.randn(6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
        away, h = (at - CENTRE).numpy(), HESSIAN.numpy() * MEAN_FACTOR
        loss, gradient = bowl.gradient(at)
        np.testing.assert_allclose(loss, away @ h @ away / 2, rtol=1e-12)
        np.testing.assert_allclose(bowl.loss(at), loss, rtol=1e-12)
        np.testing.assert_allclose(gradient, h @ away, rtol=1e-12)
        np.testing.assert_allclose(bowl.hessian_product(at, along), h @ along.numpy(), rtol=1e-12)

    def test_a_loss_without_curvature_has_none(self):
        slope = Objective(Bowl(), [None], lambda bowl, _: (bowl.vector.sum(), 1))
        assert slope.hessian_product(slope.weights, torch.ones_like(slope.weights)).abs().max() == 0

    @pytest.mark.parametrize("at_once", [1, 2, 7])
    def test_many_points_at_once_are_each_by_itself(self, bowl, at_once):
        points = torch.randn(5, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
        one_by_one = torch.stack([bowl.loss(point) for point in points])
        torch.testing.assert_close(bowl.losses(points, at_once), one_by_one, rtol=1e-12, atol=0)

    def test_the_model_is_left_alone(self, bowl):
        before = bowl.weights.clone()
        bowl.losses(torch.zeros(3, 6, dtype=torch.float64), 3)
        bowl.gradient(torch.zeros(6, dtype=torch.float64))
        assert torch.equal(flat_weights(bowl.model), before)
        assert all(p.grad is None for p in bowl.model.parameters())


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    sizes = {"context": 6, "layers": 1, "heads": 2, "width": 8}
    return (
        LanguageModel(**sizes, dropout=0.0, warmup=0.0, optimizer=torch.optim.SGD).double().eval()
    )


@pytest.fixture(scope="module")
def batches():
    text = torch.randint(256, (5, 7), generator=torch.Generator().manual_seed(3))
    return [(text[:3, :-1], text[:3, 1:]), (text[3:, :-1], text[3:, 1:])]


class TestTransformer:
    """Tied weights, attention, batches of unequal size."""

    def test_the_loss_is_the_mean_over_bytes(self, model, batches):
        objective = Objective(model, batches)
        whole = tuple(torch.cat(part) for part in zip(*batches, strict=True))
        logits = model.network(whole[0])
        expected = -logits.log_softmax(-1).gather(-1, whole[1][..., None]).mean()
        torch.testing.assert_close(objective.loss(objective.weights), expected.detach())
        predicted, labels = objective.predictions(objective.weights)
        torch.testing.assert_close(predicted, logits.flatten(0, 1).detach())
        assert torch.equal(labels, whole[1].flatten())

    def test_hessian_products_are_the_change_of_the_gradient(self, model, batches):
        objective = Objective(model, batches)
        along = torch.randn(
            objective.layout.size, dtype=torch.float64, generator=torch.Generator().manual_seed(4)
        )
        along /= along.norm()
        step = 1e-5
        there = objective.gradient(objective.weights + step * along)[1]
        back = objective.gradient(objective.weights - step * along)[1]
        product = objective.hessian_product(objective.weights, along)
        torch.testing.assert_close(product, (there - back) / (2 * step), rtol=1e-6, atol=1e-9)

    def test_the_gradient_is_that_of_training(self, model, batches):
        objective = Objective(model, batches[:1])
        loss = nn.functional.cross_entropy(*model.predict(batches[0]))
        named = dict(model.named_parameters())
        grads = torch.autograd.grad(loss, list(named.values()))
        expected = objective.layout.flatten(dict(zip(named, grads, strict=True)))
        torch.testing.assert_close(objective.gradient(objective.weights)[1], expected)
