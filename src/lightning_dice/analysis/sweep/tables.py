"""The sweep's tables: as data for programs, as Markdown for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from lightning_dice.analysis.sweep.arms import DICE
from lightning_dice.analysis.sweep.gather import COLUMNS, Sweep
from lightning_dice.analysis.sweep.results import Results

_RUN = (
    *("seed", "final", "best", "baseline", "E[s]", "efficiency", "steps", "wall_time"),
    *("status", "path"),
)
_ARM = (
    *("n", "diverged", "mean", "sd", "ci_low", "ci_high", "min", "max", "best", "E[s]"),
    *("efficiency", "learned"),
)
_COMPARISON = (
    *("against", "n", "lost", "difference", "sd", "ci_low", "ci_high", "p", "p_holm"),
    *("effect_size", "wins", "losses", "ties", "detectable", "finding"),
)


def tables(results: Results) -> dict[str, pd.DataFrame]:
    """Each table by its name: ``runs``, ``arms``, ``comparisons`` and ``left_out``.

    The first three have columns for the context and for the arm before their own; a cell is empty
    where it means nothing.
    """
    sweep = results.sweep
    runs = sweep.runs.rename(columns={"mean_scale": "E[s]"})
    arms = results.arms.rename(columns={"mean_scale": "E[s]"})
    controls = [sweep.arms[place].control for place in results.comparisons["control"]]
    compared = results.comparisons.assign(against=controls).drop(columns="control")
    left_out = pd.DataFrame(sweep.left_out, columns=["path", "reason", "detail"])
    return {
        "runs": _with_names(sweep, runs, _RUN).astype({"steps": "Int64"}),
        "arms": _with_names(sweep, arms, _ARM),
        "comparisons": _with_names(sweep, compared, _COMPARISON).drop(columns="control"),
        "left_out": left_out,
    }


_FORMULAS = ("=", "+", "-", "@", "\t", "\r")
"""What a cell begins with that a spreadsheet takes for a formula."""


def as_csv(table: pd.DataFrame) -> bytes:
    r"""Return a table for programs, whose texts no spreadsheet takes for a formula.

    Example:
        >>> as_csv(pd.DataFrame({"run": ["=1+1", "a"], "mean": [-0.5, 1.0]}))
        b"run,mean\n'=1+1,-0.5\na,1.0\n"
    """
    texts = table.rename(columns=_as_text)
    for name in texts.columns[[not pd.api.types.is_numeric_dtype(kind) for kind in texts.dtypes]]:
        texts[name] = texts[name].map(_as_text)
    return texts.to_csv(index=False, lineterminator="\n").encode("utf-8", "backslashreplace")


def _as_text(cell: Any) -> Any:
    formula = isinstance(cell, str) and cell.startswith(_FORMULAS)
    return f"'{cell}" if formula else cell


def as_markdown(table: pd.DataFrame) -> bytes:
    r"""A table for people: numbers with six digits.

    Example:
        >>> print(as_markdown(pd.DataFrame({"die": ["d20|"], "mean": [1 / 3]})).decode())
        | die | mean |
        |---|---:|
        | d20\| | 0.333333 |
        <BLANKLINE>
    """
    numeric = [pd.api.types.is_numeric_dtype(kind) for kind in table.dtypes]
    lines = [
        _line(map(str, table.columns)),
        "|" + "".join("---:|" if right else "---|" for right in numeric),
        *(_line(map(_cell, row)) for row in table.itertuples(index=False, name=None)),
    ]
    return ("\n".join(lines) + "\n").encode("utf-8", "backslashreplace")


def _with_names(sweep: Sweep, table: pd.DataFrame, own: Sequence[str]) -> pd.DataFrame:
    """A table with the columns of context and arm in the place of their positions."""
    contexts = pd.DataFrame([sweep.context_cells(place) for place in range(len(sweep.contexts))])
    arms = pd.DataFrame(
        [sweep.arm_cells(place) for place in range(len(sweep.arms))], columns=[*COLUMNS]
    )
    arms = arms.astype({"threshold": "Int64"}).replace({"control": {DICE: "dice"}})
    parts = [
        contexts.iloc[table["context"].to_numpy(int)],
        arms.iloc[table["arm"].to_numpy(int)],
        table[[*own]],
    ]
    return pd.concat([part.reset_index(drop=True) for part in parts], axis="columns")


def _line(cells: Any) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(value: Any) -> str:
    if value is None or value is pd.NA or value != value:
        return ""
    if isinstance(value, float):
        return f"{value:.6g}"
    return " ".join(str(value).replace("\\", "\\\\").replace("|", "\\|").split())
