"""Puts the matrix's results into ``docs/support.md``, between its markers.

python experiments/support-matrix/page.py
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from pathlib import Path

FOLDER = Path(__file__).parent
PAGE = FOLDER.parents[1] / "docs" / "support.md"
PRECISIONS = ("32-true", "64-true", "bf16-mixed", "16-mixed")

Row = Mapping[str, str]


def tables(folder: Path, device: str) -> str:
    """The results of one device as Markdown: a line, a table, and why cells were refused."""
    rows = _read(folder / f"{device}.csv")
    lines = [
        (folder / f"{device}.txt").read_text(encoding="utf-8").strip() + ".",
        "",
        f"| optimizer | {' | '.join(PRECISIONS)} | worst error, 32 and mixed | worst error, 64 |",
        f"|---|{'---|' * (len(PRECISIONS) + 2)}",
    ]
    for optimizer in dict.fromkeys(row["optimizer"] for row in rows):
        own = [row for row in rows if row["optimizer"] == optimizer]
        cells = [_cell([row for row in own if row["precision"] == p]) for p in PRECISIONS]
        single = [float(row["worst_error"]) for row in own if row["precision"] != "64-true"]
        double = [float(row["worst_error"]) for row in own if row["precision"] == "64-true"]
        worst = f"{max(single, default=0):.1e} | {max(double, default=0):.1e}"
        lines.append(f"| {optimizer} | {' | '.join(cells)} | {worst} |")
    lines += ["", "Refused, by torch or Lightning, with dice or without:", ""]
    for row in _read(folder / f"{device}-refused.csv"):
        reason = row["reason"].removeprefix("without dice too: ").rstrip(".")
        cells = f"{row['cells']} cell{'' if row['cells'] == '1' else 's'}"
        lines.append(f"* {cells} ({row['where']}): *{reason}*")
    return "\n".join(lines)


def _cell(rows: list[Row]) -> str:
    exact, refused, wrong = (
        sum(int(row[kind]) for row in rows) for kind in ("exact", "refused", "wrong")
    )
    parts = [f"**{wrong} wrong**"] if wrong else []
    parts += [f"{exact} exact"] if exact else []
    parts += [f"{refused} refused"] if refused else []
    return ", ".join(parts) or "not run"


def _read(path: Path) -> list[Row]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def render(page: str, folder: Path = FOLDER) -> str:
    """``page`` with the newest results between its markers."""
    for device in ("cpu", "cuda"):
        start, end = f"<!-- {device} -->", f"<!-- end of {device} -->"
        body = f"{start}\n\n{tables(folder, device)}\n\n{end}"
        page = re.sub(f"{start}.*?{end}", lambda _, body=body: body, page, flags=re.DOTALL)
    return page


if __name__ == "__main__":
    PAGE.write_text(render(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
