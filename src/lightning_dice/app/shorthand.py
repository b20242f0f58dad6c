"""Short spellings of the dice on the command line: ``threshold=12`` needs no file of that name."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import (
    ChoiceSweep,
    Glob,
    Override,
    OverrideType,
    QuotedString,
    RangeSweep,
)
from hydra.errors import HydraException
from omegaconf import OmegaConf

from lightning_dice.app.overrides import check_groups
from lightning_dice.rules import SettingError

DICE = {
    "threshold": "saving_throw",
    "die": "saving_throw",
    "scaling": "saving_throw",
    "target": "dice",
    "scope": "dice",
}
"""Groups that set one value, and the node that holds it."""
MOST_VALUES = 10_000
"""Values that a range may sweep over; one to infinity never ends."""
NO_VALUE = "names no value to sweep over; give one or more, separated by commas"
_EMPTY_CHOICE = "empty choice is not legal"


def expand_shorthand(arguments: Sequence[str], folder: Path) -> list[str]:
    """Let the groups of dice take values that have no file of their own.

    ``threshold=12`` and ``die=3d6kh1`` become ``saving_throw.threshold=12`` and so on, unless every
    value names an option of the group, as in ``threshold=easy,hard``. Beside an ``experiment`` all
    of them do: an experiment's own values override those of groups, and the command line overrides
    both. Everything else that Hydra accepts for a group may be used: ``choice``, ``glob``,
    ``range``, ``sort``, ``shuffle``, tags, quotes, and spaces after commas.

    Args:
        arguments: Command-line arguments.
        folder: The folder of the config groups; options in ``--config-dir`` count as well.

    Raises:
        SettingError: If a sweep has no values, or a group is given something else than names.

    Example:
        >>> from lightning_dice.app.schema import config_folder
        >>> expand_shorthand(["threshold=easy", "threshold=12, easy", "die=d7"], config_folder())
        ['threshold=easy', 'saving_throw.threshold=12,5', 'saving_throw.die=d7']
        >>> expand_shorthand(["experiment=skip_update", "target=update"], config_folder())
        ['experiment=skip_update', 'dice.target=update']
    """
    parsed = [_parse(argument) for argument in arguments]
    experiment = any(one is not None and one.key_or_group == "experiment" for one in parsed)
    folders = [folder, *_config_dir(arguments)]
    check_groups([one for one in parsed if one is None or one.key_or_group not in DICE], folders)
    return [
        argument if one is None else _expand(one, folders, named=not experiment)
        for argument, one in zip(arguments, parsed, strict=True)
    ]


def expand_params(params: Mapping[str, Any], folder: Path) -> dict[str, str]:
    """Write what an experiment sweeps over as Hydra's overrides have it.

    Args:
        params: ``hydra.sweeper.params``: text in Hydra's grammar, one value, or a list of values.
        folder: The folder of the config groups.

    Returns:
        The values of each key, in the grammar of the command line.

    Raises:
        SettingError: If a key has no values.

    Example:
        >>> from lightning_dice.app.schema import config_folder
        >>> expand_params({"threshold": ["easy", 12], "seed": "range(0,3)"}, config_folder())
        {'saving_throw.threshold': '5,12', 'seed': 'range(0,3)'}
    """
    expanded = {}
    for key, values in params.items():
        if values is None or values in ([], ""):
            raise SettingError(key, values, NO_VALUE)
        listed = values if isinstance(values, list) else [values]
        texts = [value if isinstance(value, str) else _text(value) for value in listed]
        argument = f"{key}={','.join(texts)}"
        one = _parse(argument)
        argument = argument if one is None else _expand(one, [folder], named=False)
        name, _, value = argument.partition("=")
        expanded[name] = value
    return expanded


class _Option(NamedTuple):
    name: str
    value: object


def _parse(argument: str) -> Override | None:
    """Read an argument as an override; ``None`` for flags, and for what Hydra will refuse."""
    try:
        parsed = OverridesParser.create().parse_override(argument)
    except HydraException as error:
        if _EMPTY_CHOICE in str(error):
            key, _, empty = argument.partition("=")
            raise SettingError(key, empty, NO_VALUE) from None
        return None
    if isinstance(parsed._value, RangeSweep):
        values = sum(1 for _ in islice(parsed.sweep_iterator(), MOST_VALUES + 1))
        if not 0 < values <= MOST_VALUES:
            remedy = NO_VALUE if not values else f"expected at most {MOST_VALUES} values"
            raise SettingError(parsed.key_or_group, parsed.get_value_string(), remedy)
    return parsed


def _config_dir(arguments: Sequence[str]) -> list[Path]:
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--config-dir", "-cd", nargs="?", type=Path)
    given, _ = parser.parse_known_args(list(arguments))
    return [] if given.config_dir is None else [given.config_dir]


def _expand(given: Override, folders: Sequence[Path], named: bool) -> str:
    group, argument = given.key_or_group, str(given.input_line)
    if group not in DICE or given.package is not None or given.type is OverrideType.DEL:
        return argument
    options = _options(group, folders)
    values = _values(given, list(options))
    if values is None:  # a range, which holds no names
        return _override(given, given.get_value_string())
    if not values or values == [""]:
        known = f"there are {', '.join(options)}"
        raise SettingError(group, given.get_value_string(), f"{NO_VALUE} ({known})")
    chosen = [_find(value, options) for value in values]
    if any(one is not None and one.value is None for one in chosen):
        return argument  # an option that sets more than one value stays an option
    if named and given.type is OverrideType.CHANGE and all(one is not None for one in chosen):
        names = [one.name for one in chosen if one is not None]
        if isinstance(given._value, Glob) or names == [_bare(value) for value in values]:
            return argument
        return f"{group}={_rebuilt(given, names)}"
    if not any(chosen) and not any(isinstance(value, QuotedString) for value in values):
        return _override(given, given.get_value_string())
    texts = [
        _text(_bare(value) if one is None else one.value)
        for value, one in zip(values, chosen, strict=True)
    ]
    return _override(given, _rebuilt(given, texts))


def _options(group: str, folders: Sequence[Path]) -> dict[str, object]:
    """The value that each option of a group sets; ``None`` where it does not set just that one."""
    paths = sorted(path for folder in folders for path in (folder / group).glob("*.yaml"))
    options: dict[str, object] = {}
    for path in paths:
        config = OmegaConf.to_container(OmegaConf.load(path))
        only = isinstance(config, dict) and list(config) == [group]
        options[path.stem] = config[group] if only else None  # type: ignore[call-overload, index]
    return options


def _values(given: Override, names: list[str]) -> list[Any] | None:
    value = given._value
    if isinstance(value, ChoiceSweep):
        return list(value.list)
    if isinstance(value, Glob):
        return value.filter(names)
    return None if given.is_sweep_override() else [value]


def _find(value: object, options: Mapping[str, object]) -> _Option | None:
    """The option that a value names, in whatever case."""
    word = value.text if isinstance(value, QuotedString) else value
    for name, meant in options.items():
        if isinstance(word, str) and word.casefold() == name.casefold():
            return _Option(name, meant)
    return None


def _bare(value: object) -> object:
    """A value without its quotes, which a group's options do not need."""
    return _number_or_text(value.text) if isinstance(value, QuotedString) else value


def _number_or_text(value: object) -> object:
    if isinstance(value, str) and value.strip().lstrip("+-").isdecimal():
        return int(value)
    return value


def _text(value: Any) -> str:
    """Write a value in the grammar of overrides."""
    return str(Override._get_value_element_as_str(value))


def _rebuilt(given: Override, texts: Sequence[str]) -> str:
    value, joined = given._value, ",".join(texts)
    if not isinstance(value, ChoiceSweep) or (value.simple_form and not value.tags):
        return f"shuffle({joined})" if isinstance(value, ChoiceSweep) and value.shuffle else joined
    choice = f"choice({joined})"
    choice = f"shuffle({choice})" if value.shuffle else choice
    return f"tag({','.join(sorted(value.tags))},{choice})" if value.tags else choice


def _override(given: Override, value: str) -> str:
    group = given.key_or_group
    # The key is always there, so that + can only mean what ++ does.
    prefix = "" if given.type is OverrideType.CHANGE else "++"
    return f"{prefix}{DICE[group]}.{group}={value}"
