"""The whole study, or as much of it as there is time for: call it again and it goes on.

On a GPU: ``python experiments/verdict/study.py --bf16``.
"""

from __future__ import annotations

from pathlib import Path

import click
import torch
from packed import How
from plan import identity, packs_of, read_lines
from run import Clock, carry_out
from stages import Rows, comparison, confirming, parts, repetition, tuning

RESULTS = Path(__file__).parent / "results"


@click.command()
@click.option("--out", default=RESULTS / "rows.jsonl", type=click.Path(path_type=Path))
@click.option("--device", default="cuda" if torch.cuda.is_available() else "cpu", show_default=True)
@click.option("--pack", "size", default=144, show_default=True, help="Most runs side by side.")
@click.option("--limit-s", "limit", default=540.0, show_default=True, help="Seconds it may take.")
@click.option("--bf16", is_flag=True, help="Products of bfloat16 numbers.")
@click.option("--only", multiple=True, help="Regimes, if not all.")
def main(
    out: Path,
    device: str,
    size: int,
    limit: float,
    bf16: bool,
    only: tuple[str, ...],
) -> None:
    """Tune, compare, and compare some of it again, regime after regime."""
    clock = Clock(limit)
    out.parent.mkdir(parents=True, exist_ok=True)
    for regime, base in parts():
        if only and regime not in only:
            continue
        for stage in (tuning, confirming, comparison, repetition):
            while True:
                rows = Rows(read_lines(out))
                lines = stage(regime, base, rows)
                packs = packs_of(lines, map(identity, rows), size)
                if not packs:
                    break
                click.echo(f"{regime} {base}, {stage.__name__}: {len(lines)} runs")
                if not carry_out(packs, out, clock, device, How(bf16=bf16)):
                    return


if __name__ == "__main__":
    main()
