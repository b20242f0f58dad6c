"""Scaling and discarding gradients, tensor by tensor."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lightning_dice.gradients import scale_gradients, scaled_backward

scales = st.floats(-50, 50, allow_nan=False)


def parameter(gradient):
    weight = torch.nn.Parameter(torch.zeros_like(gradient))
    weight.grad = gradient
    return weight


@given(scale=scales, values=st.lists(st.floats(-1e3, 1e3, width=32), min_size=1, max_size=5))
def test_every_gradient_is_multiplied_in_place(scale, values):
    gradients = [torch.tensor(values), torch.tensor([values]).double()]
    expected = [gradient * scale for gradient in gradients]
    weights = [parameter(gradient) for gradient in gradients]
    scale_gradients([(weights, scale)])
    for weight, gradient, wanted in zip(weights, gradients, expected, strict=True):
        assert weight.grad is gradient
        assert torch.equal(gradient, wanted)


def test_scale_one_touches_nothing():
    gradient = torch.tensor([torch.nan, 1.0])
    version = gradient._version
    scale_gradients([([parameter(gradient)], 1.0)])
    assert gradient._version == version


@pytest.mark.parametrize("scale", [0.5, 1.0, None])
def test_parameters_without_a_gradient_are_passed_over(scale):
    weight = torch.nn.Parameter(torch.ones(2))
    scale_gradients([([weight], scale)])
    scale_gradients([([], scale)])
    assert weight.grad is None


def test_a_discard_leaves_no_gradient():
    weights = [parameter(torch.ones(2)), parameter(torch.ones(3, 3))]
    scale_gradients([(weights, None)])
    assert [weight.grad for weight in weights] == [None, None]


def test_sparse_half_and_empty_gradients():
    sparse = torch.sparse_coo_tensor([[0, 2]], [1.0, 3.0], (4,), check_invariants=True)
    weights = [parameter(sparse), parameter(torch.ones(2).half()), parameter(torch.ones(0))]
    scale_gradients([(weights, -0.5)])
    assert weights[0].grad.to_dense().tolist() == [-0.5, 0, -1.5, 0]
    assert weights[1].grad.dtype is torch.half
    assert weights[1].grad.tolist() == [-0.5, -0.5]


def test_scaling_needs_no_device_answer(monkeypatch):
    """Nothing asks a tensor for its value, which on a GPU would wait for it."""

    def refuse(self):
        raise AssertionError("synchronises")

    weights = [parameter(torch.ones(2))]
    for name in ("item", "tolist", "__bool__", "__float__"):
        monkeypatch.setattr(torch.Tensor, name, refuse)
    scale_gradients([(weights, 0.25)])
    scale_gradients([(weights, None)])


def test_parts_have_scales_of_their_own_in_one_kernel(monkeypatch):
    calls = []
    kernel = torch._foreach_mul_
    monkeypatch.setattr(torch, "_foreach_mul_", lambda *args: calls.append(1) or kernel(*args))
    weights = [parameter(torch.ones(2)) for _ in range(5)]
    untouched = weights[2].grad
    parts = [(weights[:2], 0.5), (weights[2:3], 1.0), (weights[3:4], None), (weights[4:], -2.0)]
    scale_gradients(parts)
    assert [w.grad if w.grad is None else w.grad.tolist() for w in weights] == [
        [0.5, 0.5],
        [0.5, 0.5],
        [1.0, 1.0],
        None,
        [-2.0, -2.0],
    ]
    assert weights[2].grad is untouched
    assert len(calls) == 1


class TestScaledBackward:
    def gradient(self, scale, zeroed=False, poison=1.0):
        weight = torch.tensor([2.0, -1.0], requires_grad=True)
        loss = (weight.square() * poison).sum()
        parameters = [weight] if zeroed else None
        scaled_backward(torch.Tensor.backward, loss, scale, zeroed=parameters)
        return weight.grad, loss.item()

    @given(scale=scales)
    def test_the_gradient_is_scale_times_its_own(self, scale):
        gradient, loss = self.gradient(scale)
        torch.testing.assert_close(gradient, scale * torch.tensor([4.0, -2.0]))
        assert loss == 5.0

    @pytest.mark.parametrize("poison", [1.0, torch.nan, torch.inf])
    def test_a_discard_propagates_nothing(self, poison):
        assert self.gradient(None, poison=poison)[0] is None

    @pytest.mark.parametrize("poison", [1.0, torch.nan, torch.inf])
    def test_a_discard_can_send_zeros_to_those_who_wait(self, poison):
        gradient, _ = self.gradient(None, zeroed=True, poison=poison)
        assert gradient.tolist() == [0.0, 0.0]

    def test_a_parameter_that_the_loss_does_not_reach_gets_no_gradient(self):
        used, unused = (torch.ones(1, requires_grad=True) for _ in range(2))
        scaled_backward(torch.Tensor.backward, used.sum(), None, zeroed=[used, unused])
        assert used.grad.tolist() == [0.0]
        assert unused.grad is None
        used.grad = None
        scaled_backward(torch.Tensor.backward, used.sum(), 1.0)
        assert used.grad.tolist() == [1.0], "no hook is left behind"

    def test_arguments_are_passed_on(self):
        weight = torch.tensor(3.0, requires_grad=True)
        loss = weight**2
        for _ in range(2):
            scaled_backward(torch.Tensor.backward, loss, 0.5, retain_graph=True)
        assert weight.grad.item() == 6.0
