"""A model's loss on fixed data, as a function of its weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn import functional as F  # noqa: N812 - the field's name for it
from torch.nn.attention import SDPBackend, sdpa_kernel
from typing_extensions import override

from lightning_dice.probes.weights import Layout, flat_weights

Batch = Any
Loss = Callable[[Any, Batch], tuple[Tensor, int]]
"""From a module and a batch to the mean loss, and to how many examples it is the mean of."""


class Predicts(Protocol):
    """A model that says what it predicts."""

    def predict(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Logits ``(N, C)`` and labels ``(N,)`` of a batch."""


def cross_entropy(model: Predicts, batch: Batch) -> tuple[Tensor, int]:
    """The cross-entropy of a model that predicts classes."""
    logits, labels = model.predict(batch)
    return F.cross_entropy(logits, labels), len(labels)


class Objective:
    """The mean loss of a model over batches; its weights are an argument, and never changed.

    Args:
        model: In the mode in which it is to be measured. Buffers are left as they are.
        batches: On the model's device.
        loss: What is averaged.

    Example:
        >>> bowl = nn.Module()
        >>> bowl.at = nn.Parameter(torch.tensor([3.0, 4.0]))
        >>> objective = Objective(bowl, [None], lambda bowl, _: ((bowl.at**2).sum() / 2, 1))
        >>> objective.loss(objective.weights), objective.gradient(objective.weights)[1]
        (tensor(12.5000), tensor([3., 4.]))
    """

    def __init__(
        self, model: nn.Module, batches: Sequence[Batch], loss: Loss = cross_entropy
    ) -> None:
        self._whole = _Whole(model, loss)
        self._batches = batches
        self.model = model
        self.layout = Layout.of(model)
        self.weights = flat_weights(model)

    def loss(self, weights: Tensor) -> Tensor:
        """The loss at weights ``(N,)``: a scalar."""
        with torch.no_grad():
            return self._mean(weights)

    def losses(self, points: Tensor, at_once: int = 1) -> Tensor:
        """The losses at several points ``(K, N)``: shape ``(K,)``.

        Args:
            points: One a row.
            at_once: How many are computed as one batch. It pays on a GPU, where a small model
                leaves most of the device idle, and costs memory that many times.
        """
        with torch.no_grad():
            if at_once == 1:
                return torch.stack([self._mean(point) for point in points])
            return vmap(self._mean, chunk_size=at_once)(points)

    def gradient(self, weights: Tensor) -> tuple[Tensor, Tensor]:
        """The loss at weights ``(N,)`` and its gradient ``(N,)``."""
        at = weights.detach().requires_grad_()
        loss = self._mean(at)
        (gradient,) = torch.autograd.grad(loss, at)
        return loss.detach(), gradient

    def hessian_product(self, weights: Tensor, direction: Tensor) -> Tensor:
        """The Hessian at weights ``(N,)`` times a direction ``(N,)``.

        By differentiating the gradient again (Pearlmutter 1994), batch by batch, so that the graph
        of one batch is all that is held.
        """
        at = weights.detach().requires_grad_()
        product = torch.zeros_like(weights)
        total = 0
        for batch in self._batches:
            with _twice_differentiable():
                loss, count = self._whole.at(self.layout.unflatten(at), batch)
                (gradient,) = torch.autograd.grad(loss, at, create_graph=True)
                total += count
                if gradient.requires_grad:  # else the loss is a plane
                    (part,) = torch.autograd.grad(gradient @ direction, at)
                    product += count * part
        return product / total

    def predictions(self, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Logits ``(N, C)`` and labels ``(N,)`` over all batches, of a model that predicts."""
        with torch.no_grad():
            named = self.layout.unflatten(weights)
            parts = [_predict(self.model, named, batch) for batch in self._batches]
        return torch.cat([logits for logits, _ in parts]), torch.cat(
            [labels for _, labels in parts]
        )

    def _mean(self, weights: Tensor) -> Tensor:
        named = self.layout.unflatten(weights)
        parts = [self._whole.at(named, batch) for batch in self._batches]
        total = sum(count for _, count in parts)
        return torch.stack([loss * (count / total) for loss, count in parts]).sum()


class _Whole(nn.Module):
    """A model and its loss as one module, whose weights can be swapped."""

    def __init__(self, model: nn.Module, loss: Loss) -> None:
        super().__init__()
        self.model = model
        self._loss = loss

    @override
    def forward(self, batch: Batch) -> tuple[Tensor, int]:
        return self._loss(self.model, batch)

    def at(self, named: dict[str, Tensor], batch: Batch) -> tuple[Tensor, int]:
        swapped = {f"model.{name}": tensor for name, tensor in named.items()}
        result: tuple[Tensor, int] = functional_call(self, swapped, (batch,))
        return result


class _Predictor(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    @override
    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        result: tuple[Tensor, Tensor] = self.model.predict(batch)  # type: ignore[operator]
        return result


def _predict(model: nn.Module, named: dict[str, Tensor], batch: Batch) -> tuple[Tensor, Tensor]:
    swapped = {f"model.{name}": tensor for name, tensor in named.items()}
    result: tuple[Tensor, Tensor] = functional_call(_Predictor(model), swapped, (batch,))
    return result


@contextmanager
def _twice_differentiable() -> Iterator[None]:
    """Attention by the one kernel whose gradient has a gradient."""
    with sdpa_kernel(SDPBackend.MATH):
        yield
