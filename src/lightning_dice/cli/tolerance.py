"""``lightning-dice tolerance``: which optimizer withstands most imperfect optimization."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from lightning_dice.cli.arguments import Place, check_out
from lightning_dice.cli.refusals import needing, refusing

if TYPE_CHECKING:
    from rich.table import Table

    from lightning_dice.analysis.tolerance import Tolerance

_SHOWN = ("optimizer", "rank", "kept on average", "95 % CI")


@click.command(
    short_help="Which optimizer withstands most, and where each breaks.",
    epilog="""\b
Examples:
  lightning-dice tolerance multirun/tolerance
  lightning-dice tolerance multirun/tolerance --within 0.02
  lightning-dice tolerance multirun/first multirun/second --out tolerance
""",
)
@click.argument("folders", nargs=-1, required=True, metavar="FOLDER...", type=Place())
@click.option(
    "--within",
    metavar="MARGIN",
    help="How much worse than plain of the same seed a run may end to have survived: a share (5%) "
    "or a number in the metric's unit (0.02).  [default: 5%]",
)
@click.option(
    "--out",
    type=Place(file_okay=False),
    metavar="FOLDER",
    help="Where the report goes.  [default: tolerance in the folder, or here for several]",
)
def tolerance(folders: tuple[str, ...], within: str | None, out: str | None) -> None:
    """Which optimizer withstands most, and where each breaks, of a sweep below the folders."""
    with refusing():
        check_out(out)
        _report(folders, within, out)


def _report(folders: tuple[str, ...], within: str | None, out: str | None) -> None:
    with needing("report"):
        from lightning_dice.analysis.sweep.gather import Sweep
        from lightning_dice.analysis.sweep.report import left_out_line
        from lightning_dice.analysis.tolerance.report import write_study
        from lightning_dice.analysis.tolerance.study import Tolerance
        from lightning_dice.analysis.tolerance.within import WITHIN
        from lightning_dice.analysis.tolerance.wording import lead
    from rich.console import Console

    study = Tolerance.of(Sweep.load(folders), WITHIN if within is None else within)
    page = write_study(study, out)
    click.echo(lead(study))
    Console(highlight=False).print(_ranking(study))
    click.echo(left_out_line(study.sweep))
    click.echo(click.format_filename(page))


def _ranking(study: Tolerance) -> Table:
    """The ranking as a table that fits 80 columns."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from lightning_dice.analysis.tolerance.layout import ranking_table

    given = ranking_table(study)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    places = [given.columns.index(name) for name in _SHOWN]
    for place in places:
        table.add_column(given.columns[place], justify="right" if place else "left")
    for group in given.groups:
        for row in group.rows:
            table.add_row(*(Text(row[place]) for place in places))
    return table
