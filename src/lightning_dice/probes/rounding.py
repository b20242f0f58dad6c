"""Weights as fewer bits hold them."""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_dice.probes.weights import Layout

ROUNDINGS = ("bf16", "fp16", "int8")
LARGEST = 127
"""Of 8 bits with a sign; -128 is not used, so that both sides have the same steps."""


def rounded(layout: Layout, weights: Tensor, kind: str) -> Tensor:
    """The weights after a round trip through another number format.

    ``int8`` is symmetric, with one step for each filter (a row along the first dimension) of a
    tensor of two or more dimensions, and one for a vector: torch's own fake quantisation.

    Args:
        layout: Of the weights.
        weights: Shape ``(N,)``.
        kind: One of ``ROUNDINGS``.

    Returns:
        Shape ``(N,)``, in the weights' own dtype; beyond the range of ``fp16`` it is infinite.

    Example:
        >>> layout = Layout(("bias",), ((3,),))
        >>> rounded(layout, torch.tensor([12.7, 0.04, -0.06]), "int8")
        tensor([12.7000,  0.0000, -0.1000])
    """
    if kind != "int8":
        formats = {"bf16": torch.bfloat16, "fp16": torch.float16}
        return weights.to(formats[kind]).to(weights.dtype)
    parts = layout.unflatten(weights)
    return layout.flatten({name: _int8(part) for name, part in parts.items()})


def _int8(tensor: Tensor) -> Tensor:
    rows = tensor.reshape(len(tensor), -1) if tensor.ndim >= 2 else tensor.reshape(1, -1)
    # A filter of zeros has no step of its own; any will do.
    steps = (rows.abs().amax(dim=1) / LARGEST).clamp_min(torch.finfo(torch.float32).tiny)
    zero = torch.zeros(len(rows), dtype=torch.int32, device=tensor.device)
    values = torch.fake_quantize_per_channel_affine(
        rows.float(), steps.float(), zero, 0, -LARGEST, LARGEST
    )
    return values.to(tensor.dtype).reshape(tensor.shape)
