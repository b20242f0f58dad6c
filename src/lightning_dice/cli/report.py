"""``lightning-dice report``: what one run or a whole sweep came to, on one page."""

from __future__ import annotations

from pathlib import Path

import click

from lightning_dice.cli.arguments import Place, check_out
from lightning_dice.cli.refusals import needing, refusing
from lightning_dice.rules import SettingError

_RUN = ("summary.json", "saving_throw.json", "rolls.csv")


@click.command(
    epilog="""\b
Examples:
  lightning-dice report outputs/2026-11-22/15-00-00
  lightning-dice report multirun/2026-11-22/15-00-00
  lightning-dice report multirun other/multirun --out report
"""
)
@click.argument("folders", nargs=-1, required=True, metavar="FOLDER...", type=Place())
@click.option(
    "--out",
    type=Place(file_okay=False),
    metavar="FOLDER",
    help="Where a sweep's report goes.  [default: the folder, or ./report for several]",
)
def report(folders: tuple[str, ...], out: str | None) -> None:
    """Report of a run, or of every run below the folders."""
    with refusing():
        check_out(out)
        if len(folders) == 1 and any((Path(folders[0]) / name).is_file() for name in _RUN):
            _report_run(folders[0], out)
        else:
            _report_sweep(folders, out)


def _report_run(folder: str, out: str | None) -> None:
    if out is not None:
        raise SettingError("out", out, "a run's report lies in its own folder; leave this out")
    from lightning_dice.analysis import write_report

    click.echo(click.format_filename(write_report(folder)))


def _report_sweep(folders: tuple[str, ...], out: str | None) -> None:
    with needing("report"):
        from lightning_dice.analysis.sweep.gather import Sweep
        from lightning_dice.analysis.sweep.headline import headline
        from lightning_dice.analysis.sweep.report import left_out_line, write_results
        from lightning_dice.analysis.sweep.results import Results

    results = Results.of(Sweep.load(folders))
    page = write_results(results, out)
    click.echo(headline(results))
    click.echo(left_out_line(results.sweep))
    click.echo(click.format_filename(page))
