import numpy as np
import torch
from torch import nn

from lightning_dice.probes import Layout
from lightning_dice.probes.directions import filter_norms, matrices, random_direction
from lightning_dice.probes.weights import flat_weights


def made():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.Flatten(), nn.Linear(3, 4))
    return Layout.of(model), flat_weights(model)


def by_hand(layout, weights):
    """The filters' norms, by NumPy and loops."""
    norms = []
    for tensor in layout.unflatten(weights).values():
        array = tensor.numpy()
        rows = array.reshape(len(array), -1) if array.ndim > 1 else array[None]
        for row in rows:
            norms += [np.sqrt((row.astype(float) ** 2).sum())] * row.size
    return np.array(norms)


def test_norms():
    layout, weights = made()
    norms = filter_norms(layout, weights)
    assert norms.shape == weights.shape
    np.testing.assert_allclose(norms, by_hand(layout, weights), rtol=1e-6)


def test_a_direction_is_as_long_as_the_weights_filter_by_filter():
    layout, weights = made()
    direction = random_direction(layout, weights, torch.Generator().manual_seed(1), vectors=True)
    np.testing.assert_allclose(by_hand(layout, direction), by_hand(layout, weights), rtol=1e-5)
    assert not torch.allclose(direction.abs(), weights.abs())


def test_vectors_stay_unless_asked():
    layout, weights = made()
    direction = random_direction(layout, weights, torch.Generator().manual_seed(1))
    both = random_direction(layout, weights, torch.Generator().manual_seed(1), vectors=True)
    is_vector = [len(shape) < 2 for shape in layout.shapes for _ in range(np.prod(shape))]
    assert (matrices(layout) == ~torch.tensor(is_vector)).all()
    assert (direction[is_vector] == 0).all()
    assert torch.equal(direction[matrices(layout)], both[matrices(layout)])


def test_a_filter_of_zeros_does_not_move_and_a_seed_is_a_direction():
    layout, weights = made()
    weights[:18] = 0
    first, again, other = (
        random_direction(layout, weights, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
    )
    assert (first[:18] == 0).all()
    assert first.isfinite().all()
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
