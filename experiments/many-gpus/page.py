"""Puts the study's results into ``docs/several-processes.md``, between its markers.

python experiments/many-gpus/page.py
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
PAGE = FOLDER.parents[1] / "docs" / "several-processes.md"
TARGETS = {
    "gradient": ("gradient, model", "gradient, tensor"),
    "update": ("update, model", "update, tensor"),
    "mini-batch": ("mini-batch, shared", "mini-batch, independent"),
}
"""What a row of the table holds: all scopes of a target, and both kinds of ranks."""

Row = dict[str, Any]


def table(folder: Path) -> str:
    """The results of one machine as Markdown: a line and a table."""
    lines = (folder / "rows.jsonl").read_text(encoding="utf-8").splitlines()
    rows: list[Row] = [json.loads(line) for line in lines]
    head = ("strategy", "precision", "target", "replicas apart by", "from one GPU")
    head += ("the same without dice", "tokens/s without", "with", "time with / without")
    shown = [
        (folder / "machine.txt").read_text(encoding="utf-8").strip() + ".",
        "",
        f"| {' | '.join(head)} |",
        "|---" * len(head) + "|",
    ]
    for strategy, precision in dict.fromkeys((row["strategy"], row["precision"]) for row in rows):
        own = [row for row in rows if (row["strategy"], row["precision"]) == (strategy, precision)]
        refused = next((row["error"] for row in own if "error" in row), None)
        if refused is None:
            shown += [_line(strategy, precision, target, own) for target in TARGETS]
        else:
            reason = refused.partition(": ")[2]
            shown.append(f"| {strategy} | {precision} | refused without dice too: *{reason}* |")
    return "\n".join(shown)


def _line(strategy: str, precision: str, target: str, rows: Sequence[Row]) -> str:
    exact = [row for row in rows if row["dice"] in TARGETS[target] and "replicas" in row]
    # Clipping comes after the rolls of mini-batches, which are compared without it.
    unclipped = strategy == "fsdp" or target == "mini-batch"
    plain = [row for row in rows if row["dice"] == ("plain, unclipped" if unclipped else "plain")]
    timed = [row for row in rows if row["dice"] in TARGETS[target] and "ratio" in row]
    ratios = [ratio for row in timed for ratio in row["ratios"]]
    messages = {row["messages"] for row in (*exact, *plain) if "messages" in row}
    if len(messages) != 1:
        raise ValueError(f"{strategy}, {precision}, {target}: messages {sorted(messages)}")
    cells = (
        strategy,
        precision,
        target,
        _most(row["replicas"] for row in exact),
        _most(row["from_one"] for row in exact),
        _most(row["from_one"] for row in plain if "from_one" in row),
        f"{sum(row.get('tokens_per_second', 0) for row in plain):,.0f}",
        f"{sum(row['tokens_per_second'] for row in timed):,.0f}",
        f"{min(ratios):.3f} to {max(ratios):.3f}",
    )
    return f"| {' | '.join(cells)} |"


def _most(values: Iterable[float]) -> str:
    most = max(values)
    return "0" if most == 0 else f"{most:.1e}"


def render(page: str, folder: Path = FOLDER) -> str:
    """``page`` with the newest results between its markers."""
    for results in sorted(folder.glob("results-*")):
        start, end = f"<!-- {results.name} -->", f"<!-- end of {results.name} -->"
        body = f"{start}\n\n{table(results)}\n\n{end}"
        page = re.sub(f"{start}.*?{end}", lambda _, body=body: body, page, flags=re.DOTALL)
    return page


if __name__ == "__main__":
    PAGE.write_text(render(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
