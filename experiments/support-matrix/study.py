"""Runs the whole matrix and writes what came of it; a long study: a quarter of an hour.

    python experiments/support-matrix/study.py                              # all cells of a CPU
    python experiments/support-matrix/study.py --device cuda --together 3   # a part of a GPU's

The tables are one row for each optimizer, target and precision.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import os
import platform
import sys
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import lightning
import torch

FOLDER = Path(__file__).parent
sys.path.insert(0, str(FOLDER.parents[1] / "tests"))

from matrix.cells import Cell, every_cell, some_cells  # noqa: E402
from matrix.run import Outcome, check, quiet  # noqa: E402

COLUMNS = ("optimizer", "target", "precision", "cells", "exact", "refused", "wrong", "worst_error")


def outcome(cell: Cell, device: str) -> Outcome:
    """What came of one cell; an exception with dice alone is a wrong cell."""
    with quiet():
        try:
            return check(cell, device)
        except Exception as error:
            return Outcome("wrong", reason=f"{type(error).__name__}: {error}"[:300])


def table(outcomes: dict[Cell, Outcome]) -> list[dict[str, object]]:
    """The outcomes gathered over scope, clipping, accumulation and mode."""
    rows: dict[tuple[str, str, str], list[Outcome]] = defaultdict(list)
    for cell, result in outcomes.items():
        rows[cell.optimizer, cell.target, cell.precision].append(result)
    return [
        {
            **dict(zip(COLUMNS, key, strict=False)),
            "cells": len(results),
            **{s: sum(r.status == s for r in results) for s in ("exact", "refused", "wrong")},
            "worst_error": f"{max(r.error for r in results):.1e}",
        }
        for key, results in rows.items()
    ]


def reasons(outcomes: dict[Cell, Outcome]) -> list[dict[str, object]]:
    """Why cells were refused, with what all cells of that reason have in common."""
    cells: dict[str, list[Cell]] = defaultdict(list)
    for cell, result in outcomes.items():
        if result.status == "refused":
            # Optimizers that are stepped by hand have another name, and the same reason.
            cells[result.reason.replace("optimizer, Lightning", "optimizer, ")].append(cell)
    return [
        {
            "cells": len(members),
            "where": "; ".join(
                f"{field}={' or '.join(sorted({str(getattr(c, field)) for c in members}))}"
                for field in ("optimizer", "precision", "clip", "mode")
            ),
            "reason": reason,
        }
        for reason, members in cells.items()
    ]


def main() -> None:
    """Run the cells, write the tables, and fail if a cell is wrong."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--out", type=Path, default=FOLDER)
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--together", type=int, help="not every cell: any so many axes meet")
    args = parser.parse_args()
    torch.set_num_threads(1)
    cells = list(every_cell(args.device))
    if args.together:
        cells = some_cells(args.device, args.together)
    # Cells that share their training without dice go to one process, which remembers it.
    cells.sort(key=lambda cell: cell[2:])
    with ProcessPoolExecutor(
        args.processes, get_context("spawn"), torch.set_num_threads, (1,)
    ) as pool:
        results = pool.map(outcome, cells, [args.device] * len(cells), chunksize=8)
        outcomes = dict(zip(cells, results, strict=True))
    args.out.mkdir(parents=True, exist_ok=True)
    _write(args.out / f"{args.device}.csv", table(outcomes))
    _write(args.out / f"{args.device}-refused.csv", reasons(outcomes))
    wrong = {cell: result for cell, result in outcomes.items() if result.status == "wrong"}
    processor = torch.cuda.get_device_name() if args.device == "cuda" else platform.machine()
    versions = (
        f"{len(outcomes)} cells, {len(wrong)} wrong; {processor}, Python "
        f"{platform.python_version()}, torch {torch.__version__}, "
        f"Lightning {lightning.__version__}, {datetime.datetime.now(datetime.UTC):%Y-%m-%d}"
    )
    (args.out / f"{args.device}.txt").write_text(f"{versions}\n", encoding="utf-8")
    print(versions)  # noqa: T201
    for cell, result in wrong.items():
        print(*cell, result.reason, sep=" | ")  # noqa: T201
    sys.exit(bool(wrong))


def _write(path: Path, rows: list[dict[str, object]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0] if rows else (), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
