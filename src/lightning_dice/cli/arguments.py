"""Paths as arguments of commands: refused before anything is read, measured or written."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click
from typing_extensions import override

from lightning_dice.places import usable
from lightning_dice.rules import SettingError

model_class = click.option(
    "--model-class",
    multiple=True,
    metavar="CLASS",
    help="A class of your own that runs name, as package.Class; its code is run.",
)
data_class = click.option(
    "--data-class", multiple=True, metavar="CLASS", help="Likewise, of the data that runs name."
)


class Place(click.Path):
    """Path that a file system could have."""

    @override
    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            usable("path", value)
        except SettingError as error:
            self.fail(str(error), param, ctx)
        return super().convert(value, param, ctx)


def check_out(out: str | None) -> None:
    """Refuse a folder that cannot be made or written to.

    Raises:
        SettingError: If something else stands in its place, or the system does not let us write.
    """
    if out is None:
        return
    place = Path(out).absolute()
    there = next(one for one in (place, *place.parents) if one.exists())
    if not there.is_dir():
        raise SettingError("out", out, f"{there} is no folder; choose another")
    if not os.access(there, os.W_OK | os.X_OK):
        raise SettingError("out", out, f"{there} cannot be written to; choose another")
