"""Learning rates that have been measured to be best, and the name by which YAML asks for one."""

from __future__ import annotations

from typing import Any

from omegaconf import DictConfig, OmegaConf

from lightning_dice.rules import SettingError


def tuned(optimizer: str, default: float, *, _root_: DictConfig) -> float:
    """The learning rate of an optimizer in the table that is chosen.

    Args:
        optimizer: The name of its option.
        default: What it is where no table is chosen.
        _root_: The whole configuration: its table, and whether gradients are clipped.

    Raises:
        SettingError: If the table has no such entry.
    """
    table: Any = _root_.get("tuned")
    if not table:
        return default
    column = "clipped" if _root_.trainer.gradient_clip_val else "free"
    try:
        return float(table[optimizer][column])
    except (AttributeError, KeyError, TypeError, ValueError):
        remedy = f"the table has no learning rate for {optimizer}.{column}; add it or give lr="
        raise SettingError("tuned", f"{optimizer}.{column}", remedy) from None


def register_resolver() -> None:
    """Make ``${tuned:name,default}`` known to OmegaConf in this process."""
    OmegaConf.register_new_resolver("tuned", tuned, replace=True)
