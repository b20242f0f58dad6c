"""The shape that a composed configuration must have, whatever was overridden, added or deleted."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any

from omegaconf import DictConfig, OmegaConf

from lightning_dice.app.schema import DiceConfig, MetricConfig, SavingThrowConfig, TrainConfig
from lightning_dice.rules import SettingError

_TYPED = {"saving_throw": SavingThrowConfig, "dice": DiceConfig, "metric": MetricConfig}
"""Nodes whose keys are all known."""
_BUILT = ("model", "data", "optimizer")
"""Nodes that name what is built of them."""


def check_shape(config: DictConfig) -> None:
    """Refuse a configuration that lacks something, or has something in the wrong place.

    Keys that were added at the top are left alone, as other values may refer to them.

    Raises:
        SettingError: Naming the key.
        OmegaConfBaseException: If a value refers to one that is not there.
    """
    for name in (one.name for one in fields(TrainConfig)):
        if name not in config or OmegaConf.is_missing(config, name):
            raise SettingError(name, None, f"is missing; choose one with {name}=")
    values: Any = OmegaConf.to_container(config, resolve=True)
    for name, schema in _TYPED.items():
        known = [one.name for one in fields(schema)]
        for key, value in _mapping(name, values[name]).items():
            if key not in known:
                raise SettingError(f"{name}.{key}", value, f"expected {', '.join(known)}")
    _mapping("trainer", values["trainer"])
    for name in _BUILT:
        if not isinstance(_mapping(name, values[name]).get("_target_"), str):
            raise SettingError(f"{name}._target_", None, "is missing; it names what is built")
    for name, logger in _mapping("logger", values["logger"] or {}).items():
        _mapping(f"logger.{name}", logger)
    _mapping("tuned", values["tuned"] or {})
    for name, value in _leaves(values):
        if isinstance(value, float) and not math.isfinite(value):
            raise SettingError(name, value, "expected a finite number")


def _mapping(name: str, value: object) -> Mapping[Any, Any]:
    if not isinstance(value, Mapping):
        raise SettingError(name, value, f"expected settings by name, such as {name}.key=value")
    return value


def _leaves(value: object, above: str = "") -> Iterator[tuple[str, object]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _leaves(item, f"{above}.{key}" if above else str(key))
    elif isinstance(value, list):
        for place, item in enumerate(value):
            yield from _leaves(item, f"{above}[{place}]")
    else:
        yield above, value
