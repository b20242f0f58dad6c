"""The plane of a path: against numpy's singular values, and against planes that are known."""

import numpy as np
import pytest
import torch

from lightning_dice.probes import planes
from lightning_dice.probes.planes import principal_plane


@pytest.fixture(params=[1 << 16, 7])
def columns(request, monkeypatch):
    monkeypatch.setattr(planes, "_COLUMNS", request.param)


@pytest.mark.usefixtures("columns")
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_it_is_that_of_the_singular_vectors(dtype):
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(9, 40, generator=generator).to(dtype)
    centre = torch.randn(40, generator=generator)
    found = principal_plane(list(points), centre)
    offsets = points.double().numpy() - centre.double().numpy()
    left, values, right = np.linalg.svd(offsets, full_matrices=False)
    signs = np.sign(left[0, :2])
    np.testing.assert_allclose(found.at, left[:, :2] * values[:2] * signs, atol=1e-10)
    np.testing.assert_allclose(found.directions, right[:2] * signs[:, None], atol=1e-6)
    np.testing.assert_allclose(found.explained, values[:2] ** 2 / (values**2).sum(), atol=1e-12)
    rest = offsets - offsets @ right[:2].T @ right[:2]
    np.testing.assert_allclose(found.distance, np.linalg.norm(rest, axis=1), atol=1e-6)


def test_a_path_in_a_plane_is_found_again():
    basis = torch.linalg.qr(torch.randn(50, 2, generator=torch.Generator().manual_seed(1))).Q.T
    turn = torch.linspace(0, 3, 20)
    path = torch.stack([turn.cos() * turn, turn.sin() * 2], dim=1)
    centre = torch.full((50,), 0.5)
    found = principal_plane(list(centre + path @ basis), centre)
    assert float(found.explained.sum()) == pytest.approx(1, abs=1e-10)
    assert float(found.distance.max()) < 1e-5
    back = centre + found.at.float() @ found.directions
    torch.testing.assert_close(back, centre + path @ basis, atol=1e-5, rtol=0)
    torch.testing.assert_close(found.directions @ found.directions.T, torch.eye(2))
    assert (found.at[0] >= 0).all()


@pytest.mark.parametrize("at", [[[0.0, 0], [0, 0]], [[1.0, 2], [2, 4], [-3, -6]], [[1.0, 2]]])
def test_a_line_has_no_plane(at):
    with pytest.raises(ArithmeticError, match="one line"):
        principal_plane(list(torch.tensor(at)), torch.zeros(2))
