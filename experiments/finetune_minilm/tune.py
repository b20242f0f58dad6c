"""What plain fine-tuning ends with, by learning rate and number of steps.

lightning-dice-train -m experiment=finetune_minilm_tuning trainer=gpu hydra/launcher=joblib
python experiments/finetune_minilm/tune.py multirun/finetune_minilm_tuning
"""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from pathlib import Path
from statistics import fmean

import click

TABLE = Path(__file__).with_name("tuning.csv")
COLUMNS = ("steps", "lr", "runs", "mean", "least", "most")
Row = tuple[int, float, int, float, float, float]


def read(folder: Path) -> list[Row]:
    """A row for each number of steps and learning rate of a tuning sweep, sorted.

    Args:
        folder: The sweep's.

    Raises:
        click.ClickException: If a run has not finished.
    """
    runs: defaultdict[tuple[int, float], list[float]] = defaultdict(list)
    for path in sorted(folder.glob("*/summary.json")):
        summary = json.loads(path.read_text(encoding="utf-8"))
        if summary["status"] != "finished":
            raise click.ClickException(f"{path.parent.name} is {summary['status']}")
        settings = summary["settings"]
        key = settings["trainer.max_steps"], settings["optimizer.lr"]
        runs[key].append(summary["metrics"]["val_accuracy"])
    return [
        (*key, len(ends), *(round(of(ends), 6) for of in (fmean, min, max)))
        for key, ends in sorted(runs.items())
    ]


def best(rows: list[Row], steps: int) -> float:
    """The learning rate with the best mean for so many steps.

    Args:
        rows: As ``read`` gives them.
        steps: For how many.

    Raises:
        click.ClickException: If it is the smallest or the largest that was tried.
    """
    tried = [row for row in rows if row[0] == steps]
    lr = max(tried, key=lambda row: row[3])[1]
    if lr in (tried[0][1], tried[-1][1]):
        raise click.ClickException(f"{lr:g} lies at an edge of what was tried for {steps} steps")
    return lr


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True))
def main(folder: Path) -> None:
    """Write the table, and say which learning rate is best for each number of steps."""
    rows = read(folder)
    with TABLE.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([COLUMNS, *rows])
    for steps in sorted({row[0] for row in rows}):
        lr = best(rows, steps)
        mean = next(row[3] for row in rows if row[:2] == (steps, lr))
        click.echo(f"{steps} steps: {lr:g} ends at {mean:.1%}")


if __name__ == "__main__":
    main()
