"""Networks that compute many models of one architecture at once, a run axis before all others.

Matrix products go over the run axis by ``baddbmm`` and convolutions have a group a run, which
``torch.func.vmap`` would do too, had it a rule for attention. The mathematics is that of the plain
module, but for dropout: it falls on what attention gives to the residual stream, not on its
probabilities.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from functools import cached_property
from math import prod

import torch
from layout import Layout
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - its usual name

from lightning_dice.app.models.gpt import BYTES, GPT

Weights = Mapping[str, Tensor]
"""By name, each ``(N, *shape)``."""
CLASSES = 10


class Network(ABC):
    """An architecture of which N models are computed side by side."""

    hidden: Sequence[str]
    """Patterns of the names of hidden weight matrices and convolutions."""

    @abstractmethod
    def build(self) -> nn.Module:
        """A plain model, its weights drawn from torch's global generator."""

    @abstractmethod
    def forward(self, weights: Weights, inputs: Tensor, masks: Sequence[Tensor] | None) -> Tensor:
        """Logits ``(N, ..., classes)``.

        Args:
            weights: Of the models.
            inputs: Shape ``(N, B, ...)``.
            masks: What activations are multiplied by for dropout, one for each of ``sites``, each
                with the run axis first; ``None`` for no dropout.
        """

    @abstractmethod
    def sites(self, batch: int) -> list[tuple[int, ...]]:
        """The shapes of what dropout falls on, without the run axis."""

    @cached_property
    def layout(self) -> Layout:
        """Where the tensors of a model lie in its row."""
        with torch.random.fork_rng(devices=[]):
            return Layout(self.build())

    def initial(self, seed: int) -> Tensor:
        """The weights of the model that is built right after ``torch.manual_seed(seed)``."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return self.layout.row(self.build())

    def drawn_masks(
        self, batch: int, generators: Sequence[torch.Generator], keep: Sequence[float]
    ) -> list[Tensor]:
        """Dropout masks of 0 and 1 / keep, each run's from its own generator.

        Args:
            batch: Examples in a mini-batch.
            generators: One a run, on the device where the masks are to be.
            keep: The share of activations that each run keeps.
        """
        shapes = self.sites(batch)
        sizes = [prod(shape) for shape in shapes]
        device = generators[0].device
        drawn = torch.empty(len(keep), sum(sizes), device=device)
        for row, generator, share in zip(drawn, generators, keep, strict=True):
            if share == 1:
                row.fill_(1.0)
            else:
                row.bernoulli_(share, generator=generator).div_(share)
        parts = drawn.split_with_sizes(sizes, dim=1)
        return [part.unflatten(1, shape) for part, shape in zip(parts, shapes, strict=True)]


class PackedGPT(Network):
    """The app's ``GPT``; takes bytes ``(N, B, T)``, gives ``(N, B * T, 256)``.

    Args:
        context: As in ``GPT``, as are the following.
        layers: Number of blocks.
        heads: Attention heads.
        width: Size of the residual stream.
    """

    hidden = ("blocks.*.attention.*.weight", "blocks.*.mlp.*.weight")

    def __init__(
        self, context: int = 128, layers: int = 4, heads: int = 4, width: int = 128
    ) -> None:
        self.context, self.layers, self.heads, self.width = context, layers, heads, width

    def build(self) -> nn.Module:
        """See ``Network``."""
        return GPT(self.context, self.layers, self.heads, self.width, dropout=0.0)

    def sites(self, batch: int) -> list[tuple[int, ...]]:
        """See ``Network``: after attention and after the feed-forward layers of each block."""
        return [(batch * self.context, self.width)] * (2 * self.layers)

    def forward(self, weights: Weights, inputs: Tensor, masks: Sequence[Tensor] | None) -> Tensor:
        """See ``Network``."""
        runs, _, length = inputs.shape
        table = weights["tokens.weight"]
        rows = BYTES * torch.arange(runs, device=inputs.device).view(-1, 1, 1)
        x = F.embedding(inputs + rows, table.flatten(0, 1))
        x = (x + weights["positions.weight"][:, None, :length]).flatten(1, 2)
        for block in range(self.layers):
            name = f"blocks.{block}"
            own = (None, None) if masks is None else masks[2 * block : 2 * block + 2]
            x = x + dropped(self._attention(weights, f"{name}.attention", x, length), own[0])
            hidden = F.gelu(
                linear(weights, f"{name}.mlp.expand", norm(weights, f"{name}.mlp_norm", x))
            )
            x = x + dropped(linear(weights, f"{name}.mlp.contract", hidden), own[1])
        return torch.bmm(norm(weights, "norm", x), table.mT)

    def _attention(self, weights: Weights, name: str, x: Tensor, length: int) -> Tensor:
        joint = linear(weights, f"{name}.qkv", norm(weights, f"{name}_norm", x))
        parts = joint.view(-1, length, 3, self.heads, self.width // self.heads).unbind(2)
        query, key, value = (part.transpose(1, 2) for part in parts)
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        return linear(weights, f"{name}.mix", mixed.transpose(1, 2).reshape(x.shape))


class PackedCNN(Network):
    """Two convolutions and two linear layers; maps ``(N, B, 1, side, side)`` to ``(N, B, 10)``.

    Args:
        side: Of the images, a multiple of 4.
        channels: Of the first convolution; the second has twice as many.
        width: Of the hidden linear layer.
    """

    hidden = ("conv*.weight", "hidden.weight")

    def __init__(self, side: int = 28, channels: int = 16, width: int = 64) -> None:
        self.side, self.channels, self.width = side, channels, width
        self.features = 2 * channels * (side // 4) ** 2

    def build(self) -> nn.Module:
        """See ``Network``."""
        layers: list[tuple[str, nn.Module]] = [
            ("conv1", nn.Conv2d(1, self.channels, 3, padding=1)),
            ("relu1", nn.ReLU()),
            ("pool1", nn.MaxPool2d(2)),
            ("conv2", nn.Conv2d(self.channels, 2 * self.channels, 3, padding=1)),
            ("relu2", nn.ReLU()),
            ("pool2", nn.MaxPool2d(2)),
            ("flatten", nn.Flatten()),
            ("hidden", nn.Linear(self.features, self.width)),
            ("relu3", nn.ReLU()),
            ("head", nn.Linear(self.width, CLASSES)),
        ]
        return nn.Sequential(OrderedDict(layers))

    def sites(self, batch: int) -> list[tuple[int, ...]]:
        """See ``Network``: before each of the linear layers."""
        return [(batch, self.features), (batch, self.width)]

    def forward(self, weights: Weights, inputs: Tensor, masks: Sequence[Tensor] | None) -> Tensor:
        """See ``Network``."""
        runs, batch = inputs.shape[:2]
        x = inputs.flatten(0, 1)
        for name in ("conv1", "conv2"):
            x = F.max_pool2d(F.relu(_convolved(weights, name, x, runs)), 2)
        before, within = (None, None) if masks is None else masks
        x = dropped(x.reshape(runs, batch, -1), before)
        x = dropped(F.relu(linear(weights, "hidden", x)), within)
        return linear(weights, "head", x)


def linear(weights: Weights, name: str, x: Tensor) -> Tensor:
    """A linear layer of each run; ``x`` is ``(N, M, in)``."""
    return torch.baddbmm(weights[f"{name}.bias"].unsqueeze(1), x, weights[f"{name}.weight"].mT)


def norm(weights: Weights, name: str, x: Tensor, eps: float = 1e-5) -> Tensor:
    """A layer norm with each run's own gain and bias; ``x`` is ``(N, M, width)``."""
    gain, bias = weights[f"{name}.weight"].unsqueeze(1), weights[f"{name}.bias"].unsqueeze(1)
    return torch.addcmul(bias, F.layer_norm(x, x.shape[-1:], eps=eps), gain)


def _convolved(weights: Weights, name: str, x: Tensor, runs: int) -> Tensor:
    """A 3 x 3 convolution of each run, padded; ``x`` is ``(N * B, C, H, W)``."""
    weight, bias = weights[f"{name}.weight"].flatten(0, 1), weights[f"{name}.bias"].flatten()
    side_by_side = x.unflatten(0, (runs, -1)).transpose(0, 1).flatten(1, 2)
    out = F.conv2d(side_by_side, weight, bias, padding=1, groups=runs)
    return out.unflatten(1, (runs, -1)).transpose(0, 1).flatten(0, 1)


def dropped(x: Tensor, mask: Tensor | None) -> Tensor:
    """Activations times a mask, if there is one."""
    return x if mask is None else x * mask
