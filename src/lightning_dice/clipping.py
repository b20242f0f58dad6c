"""Steps for which no gradient is left have nothing to clip."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lightning.pytorch import LightningModule

from lightning_dice.intercept import intercept


def spare_clipping(pl_module: LightningModule) -> list[Callable[[], None]]:
    """Skip clipping where every gradient of an optimizer was discarded.

    torch clips a set of no gradients by norm, and refuses to clip it by value.

    Args:
        pl_module: The module, which clips in hooks of its own or in Lightning's.

    Returns:
        Functions that leave the module as it was.
    """

    def clip(inner: Callable[..., Any], optimizer: Any, *args: Any, **kwargs: Any) -> Any:
        parameters = (p for group in optimizer.param_groups for p in group["params"])
        if any(parameter.grad is not None for parameter in parameters):
            return inner(optimizer, *args, **kwargs)
        return None

    return [
        intercept(pl_module, method, clip)
        for method in ("configure_gradient_clipping", "clip_gradients")
    ]
