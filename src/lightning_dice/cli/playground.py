"""``lightning-dice playground``: a page to teach with."""

from __future__ import annotations

import click

from lightning_dice.cli.arguments import Place
from lightning_dice.cli.refusals import refusing


@click.command(
    epilog="""\b
Examples:
  lightning-dice playground
  lightning-dice playground --out lecture/dice.html --no-open
"""
)
@click.option(
    "--out",
    type=Place(),
    default="playground.html",
    show_default=True,
    metavar="FILE",
    help="Where the page goes; an older one is replaced.",
)
@click.option(
    "--open/--no-open", "opens", default=True, help="Open it in a browser.  [default: open]"
)
def playground(out: str, opens: bool) -> None:
    """Write a page to teach with, and open it.

    Training with and without dice side by side, on losses of two weights, with lessons. It is one
    file, and needs neither a server nor a network.
    """
    import webbrowser  # here, as what it loads would delay every command

    with refusing():
        from lightning_dice.playground import write_playground

        path = write_playground(out)
    click.echo(click.format_filename(path))
    if opens and not webbrowser.open(path.as_uri()):
        click.echo("No browser could be started: open the file in one.", err=True)
