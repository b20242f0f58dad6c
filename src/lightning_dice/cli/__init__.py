"""The command line, ``lightning-dice``. No command loads torch before it needs it."""

from __future__ import annotations

import click

from lightning_dice import __version__
from lightning_dice.cli.landscape import landscape
from lightning_dice.cli.odds import odds
from lightning_dice.cli.playground import playground
from lightning_dice.cli.report import report
from lightning_dice.cli.stress import stress
from lightning_dice.cli.tolerance import tolerance

__all__ = ["main"]


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="lightning-dice")
def main() -> None:
    """Roll-to-Train for PyTorch Lightning."""


for command in (landscape, odds, playground, report, stress, tolerance):
    main.add_command(command)
