"""What was trained, in words and numbers, where it was made by a function and not from YAML."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from lightning_dice.app.optimizers import OptimizerFactory
from lightning_dice.rules import SettingError


def describe(made: Any) -> dict[str, Any]:
    """The name of a class or function, with the settings bound to it that YAML can hold.

    Example:
        >>> from functools import partial
        >>> describe(partial(torch.nn.Linear, 3, bias=False, device=torch.device("cpu")))
        {'_target_': 'torch.nn.modules.linear.Linear', 'bias': False}
    """
    whole = getattr(made, "func", made)
    name = getattr(whole, "__qualname__", type(whole).__qualname__)
    return {"_target_": f"{whole.__module__}.{name}", **_plain(getattr(made, "keywords", {}))}


def describe_optimizer(name: str, factory: OptimizerFactory) -> dict[str, Any]:
    """The class of an optimizer, with its settings as it has them when it is made.

    Args:
        name: What it is called.
        factory: Makes it.

    Raises:
        SettingError: If it cannot be made.
    """
    try:
        made = factory([torch.nn.Parameter(torch.zeros(1))])
    except Exception as error:
        remedy = f"makes no optimizer of a parameter ({type(error).__name__}: {error})"
        raise SettingError("optimizers", name, remedy) from error
    kind, (group, *_) = type(made), made.param_groups
    settings = {key: value for key, value in group.items() if key != "params"}
    return {"_target_": f"{kind.__module__}.{kind.__qualname__}", **_plain(settings)}


def _plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    values = {key: list(v) if isinstance(v, tuple) else v for key, v in settings.items()}
    return {key: value for key, value in values.items() if _is_plain(value)}


def _is_plain(value: object) -> bool:
    if isinstance(value, list):
        return all(map(_is_plain, value))
    return isinstance(value, bool | int | float | str)
