"""``lightning-dice landscape``: the loss around trained weights, and the paths that led there."""

from __future__ import annotations

from pathlib import Path

import click

from lightning_dice.cli.arguments import Place, check_out, data_class, model_class
from lightning_dice.cli.refusals import needing, refusing
from lightning_dice.places import output_in


@click.command(
    short_help="The loss around trained weights, and the paths there.",
    epilog="""\b
Examples:
  lightning-dice landscape outputs/2026-11-22/15-00-00
  lightning-dice landscape plain dice --grid 71 --out landscape
""",
)
@click.argument("runs", nargs=-1, required=True, metavar="RUN...", type=Place())
@click.option(
    "--grid",
    type=int,
    default=51,
    show_default=True,
    metavar="POINTS",
    help="Points along either side of a surface, an odd number.",
)
@click.option(
    "--span",
    type=float,
    default=1.0,
    show_default=True,
    metavar="LENGTHS",
    help="How far slices reach, in lengths of the filters.",
)
@click.option(
    "--examples",
    type=int,
    metavar="N",
    help="Most validation examples.  [default: all images, or 64 texts]",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the random directions.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda:0, ...")
@click.option(
    "--checkpoint", default="last", show_default=True, metavar="NAME", help="last, or best."
)
@model_class
@data_class
@click.option(
    "--out",
    type=Place(file_okay=False),
    metavar="FOLDER",
    help="Where pictures go.  [default: landscape in the run, or here for several]",
)
def landscape(
    runs: tuple[str, ...],
    model_class: tuple[str, ...],
    data_class: tuple[str, ...],
    out: str | None,
    **options: int | float | str | None,
) -> None:
    """Loss around a run's weights, on the plane of its path, and on the way to other runs.

    RUN is the folder of a run, or one below which there are some. What is interrupted goes on where
    it was, with the same command.
    """
    with refusing():
        check_out(out)
        _draw(runs, (model_class, data_class), out, options)


def _draw(
    runs: tuple[str, ...],
    classes: tuple[tuple[str, ...], tuple[str, ...]],
    out: str | None,
    options: dict[str, int | float | str | None],
) -> None:
    with needing("landscape"):
        from lightning_dice.analysis.landscape.page import write_landscape
        from lightning_dice.analysis.landscape.words import lead
    from lightning_dice.app.landscape import Options, compute_landscape
    from lightning_dice.app.rebuild import Named

    alone = len(runs) == 1 and (Path(runs[0]) / "summary.json").is_file()
    inside = Path(runs[0] if alone else ".")
    folder = Path(out) if out is not None else output_in(inside, "landscape")
    named = Named(*classes, "landscape")
    drawn = compute_landscape(runs, Options(**options), folder, named=named)  # type: ignore[arg-type]
    page = write_landscape(drawn, folder)
    click.echo(lead(drawn))
    for omission in drawn.omissions:
        click.echo(f"left out: {omission}")
    click.echo(click.format_filename(page))
