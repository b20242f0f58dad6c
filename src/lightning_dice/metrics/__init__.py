"""Metrics over rolls: torchmetrics classes over the pure functions in ``metrics.functional``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lightning_dice.metrics.classes import Luck, MeanScale, OutcomeCounts

__all__ = ["Luck", "MeanScale", "OutcomeCounts"]


def __getattr__(name: str) -> Any:
    # Resolved on first use, as torchmetrics imports transformers wherever that is installed.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from lightning_dice.metrics import classes

    return getattr(classes, name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
