"""Compares runs that ``lightning-dice stress`` has measured, each arm at its own learning rate.

    python experiments/verdict/robustness.py plain=multirun/plain dice=multirun/dice

The report of ``stress`` compares what differs in nothing but its dice; arms that were tuned differ
in their learning rate too.
"""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import click
import pandas as pd
from compare import Metric, holm, paired

from lightning_dice.analysis.stress import Stress
from lightning_dice.analysis.stress.record import read_record
from lightning_dice.analysis.sweep.find import find_runs
from lightning_dice.analysis.sweep.gather import Sweep

RESULTS = Path(__file__).parent / "results" / "robustness"


@click.command()
@click.argument("arms", nargs=-1, required=True, metavar="NAME=FOLDER...")
@click.option("--out", default=RESULTS, type=click.Path(path_type=Path), show_default=True)
@click.option("--name", default="robustness", show_default=True, help="Of the two tables.")
def main(arms: tuple[str, ...], out: Path, name: str) -> None:
    """Write a table of what was measured, and one of the differences."""
    folders = dict(arm.split("=", 1) for arm in arms)
    values = pd.concat([measured(Path(folder)).assign(arm=arm) for arm, folder in folders.items()])
    out.mkdir(parents=True, exist_ok=True)
    values.to_csv(out / f"{name}-values.csv", index=False, float_format="%.6g")
    differences(values).to_csv(out / f"{name}.csv", index=False, float_format="%.6g")


def measured(folder: Path) -> pd.DataFrame:
    """The measures by which ``stress`` compares: a row a run and measure.

    Args:
        folder: Below which there are runs of one arm, with a ``stress.json`` each.

    Returns:
        ``measure``, ``mode`` (``max`` or ``min`` is better, or flatter), ``seed`` and ``value``.
    """
    found, _ = find_runs([folder])
    records = {one.path: read_record(one.folder) for one in found}
    known = {path: record for path, record in records.items() if record is not None}
    parts = Stress.of(Sweep.load([folder]), known).tested
    return pd.concat(
        pd.DataFrame({"seed": part.runs["seed"], "value": part.runs["final"]}).assign(
            measure=part.measure.metric, mode=part.measure.mode
        )
        for part in parts
    )[["measure", "mode", "seed", "value"]]


def differences(values: pd.DataFrame) -> pd.DataFrame:
    """A row for each measure and two arms: paired by seed, with Holm's correction over all rows.

    Args:
        values: As ``measured`` gives them, with the arm's name in ``arm``.

    Returns:
        ``measure``, ``arm``, ``against``, the means of both, and what ``compare.paired`` tells.
    """
    lines = []
    for (measure, mode), own in values.groupby(["measure", "mode"], sort=False):
        wide = own.pivot(index="seed", columns="arm", values="value")
        metric = Metric(str(measure), 1 if mode == "max" else -1, "", 1.0)
        for other, arm in combinations(dict.fromkeys(own["arm"]), 2):
            means = {"mean": wide[arm].mean(), "mean of the other": wide[other].mean()}
            told = paired(wide[arm] - wide[other], metric)
            lines.append({"measure": measure, "arm": arm, "against": other} | means | told)
    table = pd.DataFrame(lines)
    table["p_holm"] = holm(table["p"])
    return table


if __name__ == "__main__":
    main()
