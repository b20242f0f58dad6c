"""Where the tensors of a model lie in one row of numbers, so that a pack is one matrix.

A row holds the tensors one after the other, those with two dimensions or more first, as the app
groups them for its optimizers: first what decays, then what does not. So the index of a tensor in
``names`` is its slot under ``scope="tensor"``.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor, nn

from lightning_dice.scope import NameFilter

BLOCK = 64
"""Every tensor begins a new block of so many numbers, and what is rolled is the same in a block."""


class Layout:
    """The order, shapes and places of a model's tensors.

    Args:
        module: A model of the architecture.

    Attributes:
        names: Of the tensors, in order.
        shapes: Theirs.
        decayed: How many blocks at the start of a row weight decay acts on.
        length: Of a row.

    Example:
        >>> layout = Layout(nn.Linear(3, 2))
        >>> layout.names, layout.decayed, layout.length
        (['weight', 'bias'], 1, 128)
    """

    def __init__(self, module: nn.Module) -> None:
        named = list(module.named_parameters())
        vectors = [(name, p) for name, p in named if p.ndim < 2]
        ordered = [(name, p) for name, p in named if p.ndim >= 2] + vectors
        self.names = [name for name, _ in ordered]
        self.shapes = [tuple(parameter.shape) for _, parameter in ordered]
        self.sizes = [prod(shape) for shape in self.shapes]
        self._blocks = [-(-size // BLOCK) for size in self.sizes]
        self.decayed = sum(self._blocks[: len(named) - len(vectors)])
        self.length = BLOCK * sum(self._blocks)
        self._owners: dict[torch.device, Tensor] = {}

    def __len__(self) -> int:
        return len(self.names)

    def row(self, module: nn.Module) -> Tensor:
        """The weights of a model as a row, shape ``(length,)``, with zeros in between."""
        parameters = dict(module.named_parameters())
        row = torch.zeros(1, self.length)
        for name, view in self.views(row).items():
            view[0] = parameters[name].detach()
        return row[0]

    def views(self, rows: Tensor) -> dict[str, Tensor]:
        """The tensors in ``rows``, shape ``(N, length)``, by name: each ``(N, *its shape)``."""
        parts = rows.split_with_sizes([BLOCK * blocks for blocks in self._blocks], dim=1)
        named = zip(self.names, self.shapes, self.sizes, parts, strict=True)
        return {name: part[:, :size].unflatten(1, shape) for name, shape, size, part in named}

    def blocks(self, rows: Tensor) -> Tensor:
        """Rows as blocks, ``(N, blocks, BLOCK)``, to be scaled by what ``spread`` gives."""
        return rows.unflatten(1, (-1, BLOCK))

    def spread(self, values: Tensor) -> Tensor:
        """One value a tensor, ``(N, tensors)`` or ``(N, 1)`` for all of them, as one a block.

        Returns:
            Shape ``(N, blocks, 1)`` or ``(N, 1, 1)``.
        """
        if values.shape[1] > 1:
            values = values.index_select(1, self._owner(values.device))
        return values.unsqueeze(2)

    def chosen(self, patterns: Sequence[str] | None) -> list[bool]:
        """Which tensors have a name that matches, as ``attach(..., include=patterns)`` has it."""
        matches = NameFilter(patterns)
        return [matches(name) for name in self.names]

    def _owner(self, device: torch.device) -> Tensor:
        if device not in self._owners:
            index = torch.arange(len(self)).repeat_interleave(torch.tensor(self._blocks))
            self._owners[device] = index.to(device)
        return self._owners[device]
