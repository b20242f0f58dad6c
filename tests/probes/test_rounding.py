import numpy as np
import pytest
import torch

from lightning_dice.probes import Layout
from lightning_dice.probes.rounding import ROUNDINGS, rounded

LAYOUT = Layout(("matrix", "vector"), ((3, 4), (5,)))


def weights():
    torch.manual_seed(0)
    return torch.randn(17)


def test_int8_by_hand():
    given = weights()
    given[4:8] = 0  # a filter that has nothing to round
    matrix, vector = given[:12].numpy().reshape(3, 4), given[12:].numpy()
    expected = []
    for row in (*matrix, vector):
        step = np.float64(np.abs(row).max()) / 127
        expected += [round(x / step) * step if step else 0.0 for x in row.astype(float)]
    np.testing.assert_allclose(rounded(LAYOUT, given, "int8"), expected, rtol=1e-5, atol=1e-8)


def test_int8_is_within_half_a_step_and_keeps_the_largest():
    given = weights()
    steps = torch.cat(
        [row.abs().max().expand(len(row)) for row in (*given[:12].view(3, 4), given[12:])]
    )
    error = (rounded(LAYOUT, given, "int8") - given).abs()
    assert (error <= steps / 127 / 2 * 1.0001).all()
    assert error[given.abs() == steps].max() < 1e-6


def test_fp16_is_numpys():
    given = torch.tensor([0.1, -1 / 3, 65504.0, 1e-8, 7e4])
    layout = Layout(("vector",), ((5,),))
    with np.errstate(over="ignore"):
        expected = given.numpy().astype(np.float16).astype(np.float32)
    np.testing.assert_array_equal(rounded(layout, given, "fp16"), expected)


def test_bf16_keeps_the_upper_half_of_the_bits():
    given = weights()
    bits = given.numpy().view(np.uint32).astype(np.uint64)
    # To nearest, ties to even.
    kept = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16 << 16).astype(np.uint32)
    np.testing.assert_array_equal(rounded(LAYOUT, given, "bf16"), kept.view(np.float32))


@pytest.mark.parametrize("kind", ROUNDINGS)
def test_twice_is_once_and_the_weights_stay(kind):
    given = weights()
    before = given.clone()
    once = rounded(LAYOUT, given, kind)
    assert torch.equal(given, before)
    assert once.dtype == given.dtype
    torch.testing.assert_close(rounded(LAYOUT, once, kind), once)
