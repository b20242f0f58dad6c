"""The trainable weights of a model as one vector."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Layout:
    """Which part of the vector is which tensor; a tensor with two names is there once.

    Attributes:
        names: The tensors' names, in the module's order.
        shapes: Their shapes.

    Example:
        >>> layout = Layout.of(nn.Linear(2, 3))
        >>> layout.names, layout.size
        (('weight', 'bias'), 9)
    """

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, module: nn.Module) -> Layout:
        """The layout of a module's trainable weights."""
        named = [(name, tuple(p.shape)) for name, p in _trainable(module)]
        return cls(tuple(name for name, _ in named), tuple(shape for _, shape in named))

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many weights each tensor has."""
        return tuple(map(prod, self.shapes))

    @property
    def size(self) -> int:
        """How many weights there are."""
        return sum(self.sizes)

    def flatten(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """One vector ``(N,)`` of tensors by name."""
        return torch.cat([tensors[name].reshape(-1) for name in self.names])

    def unflatten(self, vector: Tensor) -> dict[str, Tensor]:
        """The tensors of a vector ``(N,)``, as views of it."""
        parts = torch.split(vector, [*self.sizes])
        return {
            name: part.view(shape)
            for name, part, shape in zip(self.names, parts, self.shapes, strict=True)
        }


def flat_weights(module: nn.Module) -> Tensor:
    """A copy of a module's trainable weights, ``(N,)``."""
    return torch.cat([p.detach().reshape(-1) for _, p in _trainable(module)])


def _trainable(module: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    return ((name, p) for name, p in module.named_parameters() if p.requires_grad)
