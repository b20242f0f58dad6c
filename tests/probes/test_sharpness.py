import numpy as np
import pytest
import torch
from scipy.optimize import brentq

from lightning_dice.probes.sharpness import sam_step, worst_case


def made(size=8):
    torch.manual_seed(0)
    root = torch.randn(size, size, dtype=torch.float64)
    return root + root.T, torch.randn(size, dtype=torch.float64)  # of both signs


def exact(hessian, gradient, radius):
    """The largest rise of a quadratic in a ball, from the root of the secular equation."""
    values, vectors = np.linalg.eigh(hessian.numpy())
    slope = vectors.T @ gradient.numpy()

    def length(shift):
        return np.linalg.norm(slope / (shift - values)) - radius

    lowest = max(values[-1], 0.0)
    shift = brentq(length, lowest + 1e-9, lowest + 1e6, xtol=1e-12)
    step = slope / (shift - values)
    return slope @ step + step @ (values * step) / 2


@pytest.mark.parametrize("radius", [0.01, 0.5, 3.0])
def test_a_quadratic_has_its_exact_worst_case(bowl, radius):
    hessian, gradient = made()
    found = worst_case(bowl(hessian, gradient), radius, steps=300)
    assert found == pytest.approx(exact(hessian, gradient, radius), rel=1e-4)


def test_the_adaptive_ball_is_a_ball_in_units_of_the_weights(bowl):
    hessian, gradient = made()
    weights = torch.linspace(-2, 2, 8, dtype=torch.float64)
    size = weights.abs()
    found = worst_case(bowl(hessian, gradient, weights), 0.4, adaptive=True, steps=300)
    assert found == pytest.approx(
        exact(size[:, None] * hessian * size, size * gradient, 0.4), rel=1e-4
    )


def test_more_steps_are_no_better_than_the_truth_and_no_worse_than_fewer(bowl):
    hessian, gradient = made()
    objective = bowl(hessian, gradient)
    rises = [worst_case(objective, 1.0, steps=steps) for steps in (1, 2, 5, 20)]
    assert rises == sorted(rises)
    assert rises[-1] <= exact(hessian, gradient, 1.0) * (1 + 1e-9)


def test_one_step_is_sams_and_asams(classifier):
    weights, radius = classifier.weights, 0.05
    start, gradient = classifier.gradient(weights)
    step = radius * gradient / gradient.norm()
    torch.testing.assert_close(sam_step(gradient, torch.ones_like(weights), radius), step)
    risen = float(classifier.loss(weights + step) - start)
    assert worst_case(classifier, radius, steps=1) == pytest.approx(risen)
    step = radius * weights**2 * gradient / (weights * gradient).norm()
    torch.testing.assert_close(sam_step(gradient, weights.abs(), radius), step)
    risen = float(classifier.loss(weights + step) - start)
    assert worst_case(classifier, radius, adaptive=True, steps=1) == pytest.approx(risen)


def test_a_flat_loss_does_not_rise(bowl):
    flat = bowl(torch.zeros(2, 2), torch.zeros(2))
    assert worst_case(flat, 1.0) == 0.0


def test_what_is_not_finite_is_refused(bowl):
    steep = bowl(torch.full((2, 2), torch.nan), torch.ones(2))
    with pytest.raises(ArithmeticError, match=r"not finite within radius 0\.5"):
        worst_case(steep, 0.5)
