"""Chooses the learning rate that plain training ends best with, for every optimizer and clipping.

lightning-dice-train -m experiment=tolerance_tuning hydra/launcher=joblib
python experiments/tolerance/tune.py multirun/tolerance_tuning conf/tuned/digits.yaml
"""

from __future__ import annotations

import csv
import json
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import click
from omegaconf import OmegaConf


class Tried(NamedTuple):
    """What one learning rate came to."""

    optimizer: str
    clipping: str
    lr: float
    runs: int
    mean: float | None
    """Of the metric at the end; ``None`` where a run diverged or failed."""
    mode: str

    @property
    def gain(self) -> float:
        """The mean with a sign such that more is better; the least there is if there is none."""
        if self.mean is None:
            return float("-inf")
        return round(self.mean if self.mode == "max" else -self.mean, 6)  # of float32


def read(folder: Path) -> list[Tried]:
    """A row for each optimizer, clipping and learning rate of a tuning sweep, sorted.

    Args:
        folder: The sweep's.
    """
    runs: defaultdict[tuple[str, str, float], list[Mapping[str, Any]]] = defaultdict(list)
    for summary in _summaries(folder):
        settings = summary["settings"]
        clipping = "clipped" if settings["trainer.gradient_clip_val"] else "free"
        runs[summary["task"]["optimizer"], clipping, settings["optimizer.lr"]].append(summary)
    rows = []
    for key, found in sorted(runs.items()):
        task = found[0]["task"]
        ends = [summary.get("metrics", {}).get(task["metric"]) for summary in found]
        known = [end for end in ends if end is not None]
        mean = fmean(known) if len(known) == len(ends) else None
        rows.append(Tried(*key, len(found), mean, task["mode"]))
    return rows


def choose(rows: list[Tried]) -> dict[str, dict[str, float]]:
    """The best learning rate by optimizer and clipping; of equals the smallest.

    Args:
        rows: What was tried.

    Raises:
        ClickException: If the best is the smallest or the largest that was tried.
    """
    tried: defaultdict[tuple[str, str], list[Tried]] = defaultdict(list)
    for row in rows:
        tried[row.optimizer, row.clipping].append(row)
    chosen: dict[str, dict[str, float]] = {}
    for (optimizer, clipping), some in tried.items():
        best = max(some, key=lambda row: row.gain)
        rates = [row.lr for row in some]
        if best.lr in (min(rates), max(rates)):
            text = f"{optimizer}, {clipping}: {best.lr} lies at an edge; extend the grid"
            raise click.ClickException(text)
        chosen.setdefault(optimizer, {})[clipping] = best.lr
    return chosen


def _summaries(folder: Path) -> Iterator[dict[str, Any]]:
    for path in sorted(folder.glob("*/summary.json")):
        yield json.loads(path.read_text(encoding="utf-8"))


@click.command()
@click.argument("sweep", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("table", type=click.Path(dir_okay=False, path_type=Path))
def main(sweep: Path, table: Path) -> None:
    """Write what was tried beside this script, and the best into TABLE below its comments."""
    rows = read(sweep)
    with Path(__file__).with_name(f"tuning-{table.stem}.csv").open("w", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(Tried._fields[:-1])
        writer.writerows(row[:-1] for row in rows)
    head = [line for line in table.read_text("utf-8").splitlines() if line.startswith("#")]
    chosen = OmegaConf.to_yaml(OmegaConf.create(choose(rows)))
    table.write_text("\n".join([*head, chosen]), encoding="utf-8")
    click.echo(chosen)


if __name__ == "__main__":
    sys.exit(main())
