"""Rebuilds the model and the data of a run from its folder, which is data and runs no code.

Only two classes are made: those at the top of ``model`` and ``data``. They belong to this package,
or whoever measures has named them. The optimizer is not made at all.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import torch
from hydra.utils import get_class
from lightning.pytorch import LightningDataModule, LightningModule

from lightning_dice.app.build import check_kinds, check_side
from lightning_dice.app.commands import read_with
from lightning_dice.app.known_classes import TARGET, Known, known
from lightning_dice.app.optimizers import Parameters
from lightning_dice.app.refusals import refused
from lightning_dice.foreign import Unreadable
from lightning_dice.plain_yaml import read_yaml
from lightning_dice.rules import SettingError

CONFIG = "config.yaml"
_KINDS: dict[str, type[Any]] = {"model": LightningModule, "data": LightningDataModule}
_NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+", re.ASCII)
_HYDRAS = ("_convert_", "_recursive_")
"""Settings of Hydra beside a class, which say nothing to one that is made without it."""


class Named(NamedTuple):
    """The classes that whoever measures has named: their code is run.

    Attributes:
        model: Of models, as ``package.Class``.
        data: Of data modules.
        command: The command of ``lightning-dice`` that a refusal tells to use.
    """

    model: tuple[str, ...] = ()
    data: tuple[str, ...] = ()
    command: str = "stress"

    def of(self, group: str) -> tuple[str, ...]:
        """Return the names of one group, ``model`` or ``data``."""
        return self.model if group == "model" else self.data


class Part(NamedTuple):
    """A model, or data, that can be made.

    Attributes:
        made: Its class.
        settings: What its constructor is given.
        known: What it is held to, if it is a class of this package that nobody has named.
    """

    made: type[Any]
    settings: dict[str, Any]
    known: Known | None


def read_config(folder: Path) -> dict[str, Any]:
    """Read the ``config.yaml`` of a run: plain values.

    Raises:
        SettingError: If it cannot be read, or says nothing of a model and its data.
    """
    try:
        config = read_yaml(folder / CONFIG)
        if not isinstance(config, dict):
            raise Unreadable("holds no settings")
        for group in _KINDS:
            _check_target(group, config.get(group))
        for group in (*_KINDS, "optimizer"):
            _check_plain(group, config.get(group))
        for name, value in _values("", config):
            if isinstance(value, str) and "${" in value:
                raise Unreadable(f"is not resolved: {name}={_short(value)}")
    except FileNotFoundError:
        _refuse(folder, f"its {CONFIG} cannot be read: it is missing")
    except Unreadable as error:
        _refuse(folder, f"its {CONFIG} cannot be read: it {error}")
    return config


def rebuild(
    folder: Path,
    config: Mapping[str, Any],
    named: Named,
    fits: Callable[[LightningModule], None],
) -> tuple[LightningModule, LightningDataModule]:
    """Make the model and the data of a run.

    Args:
        folder: The run's folder.
        config: What ``read_config`` returns.
        named: The classes of others that may be made.
        fits: Refuses a model that the run's weights do not fit. It is asked before a model of this
            package takes memory.

    Raises:
        SettingError: If a class is unknown here, or cannot be made of its settings.
    """
    _check_named(folder, config, named)
    model, data = (_part(group, config[group], named) for group in _KINDS)
    check_kinds(model.made, data.made)
    with refused("model", model.settings):
        if model.known is not None and not model.known.pretrained:
            with torch.device("meta"):
                fits(model.made(**model.settings, optimizer=never))
        made = model.made(**model.settings, optimizer=never)
    fits(made)
    with refused("data", data.settings):
        loaded = data.made(**data.settings)
        loaded.setup("fit")
    check_side(made, loaded)
    return made, loaded


def never(parameters: Parameters) -> NoReturn:
    """Stand for the optimizer of a model that is only measured."""
    raise SettingError("optimizer", None, "a model that is only measured has none")


def _part(group: str, settings: Mapping[str, Any], named: Named) -> Part:
    name = settings[TARGET]
    given = {key: value for key, value in settings.items() if key not in (TARGET, *_HYDRAS)}
    if name not in named.of(group):
        part = known(group, name)
        assert part is not None, "others have been refused"
        part.check(group, given)
        return Part(part.made, given, part)
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)  # last, where it hides nothing
    with refused(f"{group}-class", {TARGET: name}):
        found = get_class(name)
    if not issubclass(found, _KINDS[group]):
        raise SettingError(f"{group}-class", name, f"is no {_KINDS[group].__name__}")
    return Part(found, given, None)


def _check_named(folder: Path, config: Mapping[str, Any], named: Named) -> None:
    """Refuse classes of others that nobody has named."""
    found = {group: config[group][TARGET] for group in _KINDS}
    missing = {
        group: name
        for group, name in found.items()
        if known(group, name) is None and name not in named.of(group)
    }
    if not missing:
        return
    words = [f"{group}.{TARGET}={_short(name)}" for group, name in missing.items()]
    foreign = f"its {CONFIG} names {' and '.join(words)}, which is no class of lightning-dice"
    if not all(map(_NAME.fullmatch, missing.values())):
        _refuse(folder, f"{foreign}, nor the name of any")
    wanted = {
        group: [*named.of(group), *([missing[group]] if group in missing else [])]
        for group in _KINDS
    }
    options = " ".join(f"--{group}-class {name}" for group in _KINDS for name in wanted[group])
    command = read_with(f"{named.command} {options}", folder)
    _refuse(folder, f"{foreign}; if you trust its code, run it with: {command}")


def _check_target(group: str, node: object) -> None:
    if not isinstance(node, dict) or not isinstance(node.get(TARGET), str):
        raise Unreadable(f"does not name the class of its {group}")
    if not all(isinstance(key, str) for key in node):
        raise Unreadable(f"has settings of its {group} that are not named")


def _check_plain(group: str, node: object) -> None:
    """Refuse a class within the settings of another one."""
    for name, value in _values(f"{group}.", node if isinstance(node, dict) else {}):
        if TARGET in name.split(".")[2:]:
            raise Unreadable(
                f"names a class within settings, which is never made: {name}={_short(value)}"
            )


def _values(above: str, node: object) -> Iterator[tuple[str, object]]:
    """Every value below a node that holds no others, with its dotted name."""
    pairs = node.items() if isinstance(node, dict) else enumerate(node)  # type: ignore[arg-type]
    for key, value in pairs:
        if isinstance(value, dict | list) and value:
            yield from _values(f"{above}{key}.", value)
        else:
            yield f"{above}{key}", value


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:79]}…"


def _refuse(folder: Path, remedy: str) -> NoReturn:
    raise SettingError("run", str(folder), remedy)
