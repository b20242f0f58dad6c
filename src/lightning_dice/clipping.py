"""Clipping in steps for which every gradient was discarded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.model_helpers import is_overridden
from torch import Tensor

from lightning_dice.intercept import intercept
from lightning_dice.trainer_state import lightning_class


def spare_clipping(pl_module: LightningModule) -> list[Callable[[], None]]:
    """Let clipping find something to clip, or nothing to do, where no gradient is left.

    torch clips a set of no gradients by norm, and refuses to clip it by value. Lightning's own
    clipping is skipped there. A module's own hook is called as always, and finds gradients of zero
    meanwhile.

    Args:
        pl_module: The module, which clips in a hook of its own or in Lightning's.

    Returns:
        Functions that leave the module as it was.
    """

    def clip(inner: Callable[..., Any], optimizer: Any, *args: Any, **kwargs: Any) -> Any:
        if _without_gradients(optimizer):
            return None
        return inner(optimizer, *args, **kwargs)

    def hook(inner: Callable[..., Any], optimizer: Any, *args: Any, **kwargs: Any) -> Any:
        bare = _without_gradients(optimizer)
        for parameter in bare:
            parameter.grad = torch.zeros_like(parameter)
        try:
            return inner(optimizer, *args, **kwargs)
        finally:
            for parameter in bare:
                parameter.grad = None

    undo = [intercept(pl_module, "clip_gradients", clip)]
    base = lightning_class(pl_module, "LightningModule")
    if is_overridden("configure_gradient_clipping", pl_module, parent=base):
        undo.append(intercept(pl_module, "configure_gradient_clipping", hook))
    return undo


def _without_gradients(optimizer: Any) -> list[Tensor]:
    """Return the parameters of an optimizer that has no gradient at all; none where it has one."""
    parameters: list[Tensor] = [p for group in optimizer.param_groups for p in group["params"]]
    bare = all(parameter.grad is None for parameter in parameters)
    return [p for p in parameters if p.requires_grad] if bare else []
