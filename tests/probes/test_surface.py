"""Losses on lines and planes: against closed forms, and however many are computed at once."""

import numpy as np
import pytest
import torch
from torch import nn

from lightning_dice.probes import Objective
from lightning_dice.probes.surface import Points, fitting, losses_along, losses_at

GENERATOR = torch.Generator().manual_seed(0)
HALF = torch.randn(5, 5, generator=GENERATOR, dtype=torch.float64)
HESSIAN = HALF @ HALF.T
DIRECTIONS = torch.randn(2, 5, generator=GENERATOR, dtype=torch.float64)
CENTRE = torch.randn(5, generator=GENERATOR, dtype=torch.float64)
AXIS = torch.linspace(-1, 1, 7, dtype=torch.float64)


@pytest.fixture(scope="module")
def bowl():
    module = nn.Module()
    module.at = nn.Parameter(CENTRE.clone())
    return Objective(module, [None], lambda bowl, _: (bowl.at @ HESSIAN @ bowl.at / 2, 1))


def test_a_plane_of_a_quadratic_is_its_closed_form(bowl):
    points = Points.on_grid(CENTRE, DIRECTIONS, AXIS, AXIS)
    found = torch.cat(list(losses_along(bowl, points))).reshape(7, 7).numpy()
    w, d, h = CENTRE.numpy(), DIRECTIONS.numpy(), HESSIAN.numpy()
    level, slope, curve = w @ h @ w / 2, d @ h @ w, d @ h @ d.T
    a, b = np.meshgrid(AXIS, AXIS, indexing="ij")
    bent = curve[0, 0] * a**2 / 2 + curve[1, 1] * b**2 / 2 + curve[0, 1] * a * b
    np.testing.assert_allclose(found, level + slope[0] * a + slope[1] * b + bent, rtol=1e-12)


def test_a_line_of_a_quadratic_is_its_closed_form(bowl):
    points = Points.on_grid(CENTRE, DIRECTIONS[:1], AXIS)
    found = torch.cat(list(losses_along(bowl, points)))
    for t, loss in zip(AXIS.tolist(), found.tolist(), strict=True):
        at = CENTRE + t * DIRECTIONS[0]
        assert loss == pytest.approx(float(at @ HESSIAN @ at / 2), rel=1e-12)


@pytest.mark.parametrize("at_once", [2, 5, 64])
def test_batched_is_looped(bowl, at_once):
    points = Points.on_grid(CENTRE, DIRECTIONS, AXIS, AXIS)
    looped = torch.cat(list(losses_along(bowl, points)))
    batched = torch.cat(list(losses_along(bowl, points, at_once=at_once)))
    torch.testing.assert_close(batched, looped, rtol=1e-12, atol=0)


@pytest.mark.parametrize("done", [0, 1, 8, 48, 49])
def test_what_is_known_is_left_out(bowl, done):
    points = Points.on_grid(CENTRE, DIRECTIONS, AXIS, AXIS)
    every = torch.cat(list(losses_along(bowl, points)))
    rest = list(losses_along(bowl, points, done))
    torch.testing.assert_close(torch.cat([every[:done], *rest]), every, rtol=1e-12, atol=0)


def test_points_of_any_precision_are_measured_one_by_one(bowl):
    points = torch.stack([CENTRE, 2 * CENTRE]).half()
    found = losses_at(bowl, list(points))
    expected = [float(p @ HESSIAN @ p / 2) for p in points.double()]
    assert found.tolist() == pytest.approx(expected, rel=1e-12)


def test_one_at_a_time_is_fastest_on_a_cpu(bowl):
    assert fitting(bowl) == 1
