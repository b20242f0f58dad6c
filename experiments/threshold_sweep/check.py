"""Holds a repetition of the sweep, or of a part of it, against the committed table.

lightning-dice report multirun/threshold_sweep
python experiments/threshold_sweep/check.py multirun/threshold_sweep
"""

from __future__ import annotations

import sys
from pathlib import Path

import click
import pandas as pd

COMMITTED = Path(__file__).with_name("results") / "tables" / "arms.csv"
ARM = ["optimizer", "control", "die", "threshold", "scaling", "normalize", "target"]


def compare(mine: pd.DataFrame, committed: pd.DataFrame) -> pd.DataFrame:
    """The arms of both tables: how far means are apart, and whether within the committed interval.

    Args:
        mine: ``arms.csv`` of a report.
        committed: The one that is committed.
    """
    both = mine.merge(committed, on=ARM, suffixes=("", "_committed"))
    both["apart"] = both["mean"] - both["mean_committed"]
    # Seeds that all came to the same have no interval but their value.
    low = both["ci_low_committed"].fillna(both["min_committed"])
    high = both["ci_high_committed"].fillna(both["max_committed"])
    both["within"] = both["mean"].between(low, high)
    return both[[*ARM, "n", "n_committed", "mean", "mean_committed", "apart", "within"]]


def main() -> None:
    """Compare the report in the folder that is named; exit status 1 if a mean is outside."""
    mine = pd.read_csv(Path(sys.argv[1]) / "tables" / "arms.csv")
    both = compare(mine, pd.read_csv(COMMITTED))
    outside = both[~both["within"]]
    same = int((both["apart"].abs() < 1e-9).sum())
    within = len(both) - len(outside)
    click.echo(f"{len(both)} arms, {same} of them the same; {within} within their intervals")
    if len(outside):
        click.echo(outside.to_string(index=False))
    sys.exit(0 if len(both) and outside.empty else 1)


if __name__ == "__main__":
    main()
