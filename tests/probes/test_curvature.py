import numpy as np
import pytest
import torch

from lightning_dice.probes.curvature import top_eigenvalues, trace


def test_a_quadratic_has_its_own_eigenvalues(bowl):
    torch.manual_seed(0)
    axes, _ = torch.linalg.qr(torch.randn(12, 12, dtype=torch.float64))
    values = torch.linspace(-9, 7, 12, dtype=torch.float64)
    objective = bowl(axes @ torch.diag(values) @ axes.T, torch.zeros(12, dtype=torch.float64))
    assert top_eigenvalues(objective, 3) == pytest.approx(values.flip(0)[:3].tolist(), rel=1e-6)


def test_a_classifier_has_those_of_its_whole_hessian(classifier, whole_hessian):
    hessian = whole_hessian(classifier).numpy()
    expected = np.linalg.eigvalsh(hessian)[::-1][:4]
    assert top_eigenvalues(classifier, 4) == pytest.approx(expected.tolist(), rel=1e-3)


def test_the_trace_of_a_classifier(classifier, whole_hessian):
    exact = float(whole_hessian(classifier).trace())
    mean, error = trace(classifier, samples=200)
    assert abs(mean - exact) < 4 * error
    assert 0 < error < abs(exact) / 4


def test_random_signs_know_a_diagonal_exactly(bowl):
    objective = bowl(torch.diag(torch.tensor([5.0, -2.0, 1.0])), torch.ones(3))
    assert trace(objective, samples=4) == (pytest.approx(4.0), pytest.approx(0.0, abs=1e-6))


def test_the_same_seed_is_the_same_number(classifier):
    assert trace(classifier, samples=5, seed=3) == trace(classifier, samples=5, seed=3)
    assert trace(classifier, samples=5, seed=3) != trace(classifier, samples=5, seed=4)


def test_what_has_not_converged_is_no_number(bowl):
    values = torch.linspace(-1, 1, 400, dtype=torch.float64)
    objective = bowl(torch.diag(values), torch.zeros(400, dtype=torch.float64))
    with pytest.raises(ArithmeticError, match="of 5 eigenvalues converged, restarts: 1"):
        top_eigenvalues(objective, 5, restarts=1)


@pytest.mark.parametrize("measure", [lambda one: top_eigenvalues(one, 1), trace])
def test_what_is_not_finite_is_no_number(bowl, measure):
    with pytest.raises(ArithmeticError, match="not finite"):
        measure(bowl(torch.full((3, 3), torch.nan), torch.zeros(3)))


def test_too_few_weights(bowl):
    with pytest.raises(ArithmeticError, match="only 2 weights"):
        top_eigenvalues(bowl(torch.eye(2), torch.zeros(2)), 2)
