"""A small GPT that predicts the next byte."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the field's name for it
from typing_extensions import override

from lightning_dice.app.models.base import Metric, TaskModel
from lightning_dice.app.optimizers import OptimizerFactory
from lightning_dice.rules import SettingError

BYTES = 256


class Attention(nn.Module):
    """Causal self-attention; maps ``(B, T, width)`` to itself."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.dropout = dropout
        self.qkv = nn.Linear(width, 3 * width)
        self.mix = nn.Linear(width, width)

    @override
    def forward(self, x: Tensor) -> Tensor:
        query, key, value = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part in self.qkv(x).chunk(3, dim=-1)
        )
        dropout = self.dropout if self.training else 0.0
        mixed = F.scaled_dot_product_attention(query, key, value, dropout_p=dropout, is_causal=True)
        joined: Tensor = self.mix(mixed.transpose(1, 2).flatten(-2))
        return joined


class MLP(nn.Module):
    """Two linear layers, the inner one four times as wide; maps ``(B, T, width)`` to itself."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
        self.expand = nn.Linear(width, 4 * width)
        self.contract = nn.Linear(4 * width, width)

    @override
    def forward(self, x: Tensor) -> Tensor:
        hidden = F.gelu(self.expand(x))
        return F.dropout(self.contract(hidden), self.dropout, self.training)


class Block(nn.Module):
    """Pre-norm attention and feed-forward layers; maps ``(B, T, width)`` to itself."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(width)
        self.attention = Attention(width, heads, dropout)
        self.mlp_norm = nn.LayerNorm(width)
        self.mlp = MLP(width, dropout)

    @override
    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.attention_norm(x))
        joined: Tensor = x + self.mlp(self.mlp_norm(x))
        return joined


class GPT(nn.Module):
    """A decoder-only transformer over bytes whose output layer is its embedding.

    Args:
        context: Most bytes it looks at.
        layers: Number of blocks.
        heads: Attention heads; divides ``width``.
        width: Size of the residual stream.
        dropout: Share of activations dropped, 0 to below 1.

    Example:
        >>> import torch
        >>> model = GPT(context=8, layers=1, heads=2, width=16, dropout=0.0)
        >>> model(torch.zeros(3, 5, dtype=torch.long)).shape
        torch.Size([3, 5, 256])
    """

    def __init__(self, context: int, layers: int, heads: int, width: int, dropout: float) -> None:
        super().__init__()
        if width < 1:
            raise SettingError("model.width", width, "expected 1 or more")
        if heads < 1 or width % heads:
            raise SettingError("model.heads", heads, f"expected a divisor of model.width={width}")
        if layers < 1:
            raise SettingError("model.layers", layers, "expected 1 or more")
        if not 0 <= dropout < 1:
            raise SettingError("model.dropout", dropout, "expected a share from 0 to below 1")
        self.tokens = nn.Embedding(BYTES, width)
        self.positions = nn.Embedding(context, width)
        blocks = [Block(width, heads, dropout) for _ in range(layers)]
        self.blocks = nn.Sequential(*blocks)
        self.norm = nn.LayerNorm(width)
        self.apply(_initialise)
        for block in blocks:
            # Each block adds twice to the residual stream; this keeps its variance near 1.
            nn.init.normal_(block.attention.mix.weight, std=0.02 / (2 * layers) ** 0.5)
            nn.init.normal_(block.mlp.contract.weight, std=0.02 / (2 * layers) ** 0.5)

    @override
    def forward(self, tokens: Tensor) -> Tensor:
        """Map bytes ``(B, T)``, int64, to logits ``(B, T, 256)``; T is at most ``context``."""
        context = len(self.positions.weight)
        if tokens.shape[1] > context:
            remedy = f"the data's windows have {tokens.shape[1]} bytes; expected that or more"
            raise SettingError("model.context", context, remedy)
        x = self.tokens(tokens) + self.positions.weight[: tokens.shape[1]]
        return F.linear(self.norm(self.blocks(x)), self.tokens.weight)


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=0.02)
    if isinstance(module, nn.Linear):
        nn.init.zeros_(module.bias)


class LanguageModel(TaskModel):
    """Trains a ``GPT`` on windows of bytes; its loss is in nats per byte."""

    kind: ClassVar[str] = "text"
    metric: ClassVar[Metric] = Metric("val_loss", "nats/byte", "min")

    def __init__(
        self,
        context: int,
        layers: int,
        heads: int,
        width: int,
        dropout: float,
        warmup: float,
        optimizer: OptimizerFactory,
    ) -> None:
        super().__init__(GPT(context, layers, heads, width, dropout), optimizer, warmup)

    @override
    def predict(self, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        inputs, targets = batch
        return self.network(inputs).flatten(0, 1), targets.flatten()

    @override
    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        loss = F.cross_entropy(*self.predict(batch))
        self.log("train_loss", loss)
        return loss

    @override
    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        loss = F.cross_entropy(*self.predict(batch))
        self.log("val_loss", loss, batch_size=len(batch[0]), sync_dist=True)
