"""``lightning-dice stress``: what trained runs are worth when something disturbs them."""

from __future__ import annotations

import click

from lightning_dice.cli.arguments import Place, check_out, data_class, model_class
from lightning_dice.cli.refusals import needing, refusing


@click.command(
    short_help="Disturb trained runs, and see what is left of them.",
    epilog="""\b
Examples:
  lightning-dice stress outputs/2026-11-22/15-00-00
  lightning-dice stress multirun/dice multirun/plain --out stress
  lightning-dice stress multirun/label_noise --device cuda
""",
)
@click.argument("runs", nargs=-1, required=True, metavar="RUN...", type=Place())
@click.option(
    "--examples",
    type=int,
    metavar="N",
    help="Most validation examples.  [default: all images, 256 texts]",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of all noise.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda:0, ...")
@click.option("--checkpoint", default="last", show_default=True, help="last, best, or a file.")
@click.option("--again", is_flag=True, help="Measure what is on record already.")
@model_class
@data_class
@click.option(
    "--out",
    type=Place(file_okay=False),
    metavar="FOLDER",
    help="Where the page goes.  [default: stress in the folder, or ./stress for several]",
)
def stress(
    runs: tuple[str, ...],
    examples: int | None,
    seed: int,
    device: str,
    checkpoint: str,
    again: bool,
    model_class: tuple[str, ...],
    data_class: tuple[str, ...],
    out: str | None,
) -> None:
    """Disturb trained runs: their inputs, their weights, the bits that hold them.

    A RUN is a run's folder, or one below which there are some. What is measured is kept in each
    run's stress.json, and not measured again with the same settings.
    """
    with needing("report"):
        from lightning_dice.analysis.stress import Stress, write_stress
        from lightning_dice.analysis.stress.wording import lead
        from lightning_dice.analysis.sweep.find import find_runs
        from lightning_dice.analysis.sweep.gather import Sweep
        from lightning_dice.analysis.sweep.report import left_out_line
    from lightning_dice.app.rebuild import Named
    from lightning_dice.app.stress_runs import Options, measure_runs, unfinished

    options = Options(examples, seed, checkpoint, device, again)
    named = Named(model_class, data_class, "stress")
    with refusing():
        check_out(out)
        records, unmeasured = measure_runs(runs, options, named=named)
        found = Stress.of(Sweep.load(runs), records, unmeasured)
        page = write_stress(found, out)
    click.echo(lead(found))
    click.echo(left_out_line(found.sweep))
    for line in unfinished(find_runs(runs)[0]):
        click.echo(f"left out: {line}")
    click.echo(click.format_filename(page))
