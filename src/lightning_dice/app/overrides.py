"""Overrides that no configuration can be composed of, refused before Hydra fails at them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from hydra.core.override_parser.types import ChoiceSweep, Glob, Override, OverrideType, QuotedString

from lightning_dice.rules import SettingError

HYDRA = "hydra"


def check_groups(overrides: Sequence[Override | None], folders: Sequence[Path]) -> None:
    """Refuse a group of options that is given something else than names of options.

    Hydra takes a number, a null or a list of them for a name, and ends in an error of its own.

    Args:
        overrides: The overrides of a command, ``None`` for what is not one.
        folders: The folders of config groups.

    Raises:
        SettingError: Naming the group and its options.
    """
    for one in overrides:
        if one is None or one.type is OverrideType.DEL or isinstance(one._value, dict):
            continue
        group = one.key_or_group
        options = sorted(
            {path.stem for folder in folders for path in (folder / group).glob("*.yaml")}
        )
        if not options and group != HYDRA and not group.startswith(f"{HYDRA}/"):
            continue  # not a group
        if not all(isinstance(name, str) for name in _names(one)):
            expected = f"one of {', '.join(options)}" if options else "the name of an option"
            raise SettingError(group, one.get_value_string(), f"expected {expected}")


def _names(override: Override) -> Iterator[object]:
    """Yield what an override names: each value of a sweep, each item of a list."""
    value = override._value
    if isinstance(value, Glob):
        return
    if override.is_sweep_override() and not isinstance(value, ChoiceSweep):
        yield None  # a range of numbers
        return
    for each in value.list if isinstance(value, ChoiceSweep) else [value]:
        for name in each if isinstance(each, list) else [each]:
            yield name.text if isinstance(name, QuotedString) else name
