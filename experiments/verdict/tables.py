"""Writes the tables and the figure of the study from its rows.

On any machine: ``python experiments/verdict/tables.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import compress
from pathlib import Path
from typing import Any

import pandas as pd
from arms import PLAIN, named, regularisers
from compare import (
    STOPPED,
    comparisons,
    is_dice,
    metric_of,
    repetitions,
    summary,
    values,
)
from plan import read_lines
from scipy import stats
from stages import BEST, CLASSIC, STANDING, Rows, comparison, finalists, parts
from stopped import same_training_loss
from verdicts import UNDECIDED, verdicts

from lightning_dice.analysis.style import BLUE, FAINT, GREEN, GREY, ORANGE, draw, house_figure

RESULTS = Path(__file__).parent / "results"
SHOWN = {1: 1.5, -1: 0.12}
"""How far either side of plain the figure shows at least, by the sign of the metric."""
NAMES = {"adamw": "AdamW", "rmsprop": "RMSprop", "sgd": "SGD"}
ACROSS = 3
"""Panels of the figure side by side, so that it can be read on a page."""
Label = tuple[str, str, str]
"""What a row of the figure is called, whose it is, and its colour."""


def complete(rows: Rows) -> list[tuple[str, str]]:
    """The regimes and base optimizers of which every run that is compared is there."""
    keys = ("regime", "base", "arm", "lr", "seed")
    made = {tuple(row[key] for key in keys) for row in rows}
    return [
        part
        for part in parts()
        if (lines := comparison(*part, rows))
        and all(tuple(line[key] for key in keys) in made for line in lines)
    ]


def tables(rows: Rows) -> dict[str, pd.DataFrame]:
    """The tables by name."""
    done = complete(rows)
    arms = pd.concat([summary(*part, rows) for part in done])
    compared = pd.concat([comparisons(*part, rows) for part in done])
    return {
        "arms": arms,
        "comparisons": compared,
        "verdicts": verdicts(arms, compared),
        "same_training_loss": pd.concat([same_training_loss(*part, rows) for part in done]),
        "repetitions": pd.concat([repetitions(*part, rows) for part in done]),
    }


def overview(arms: pd.DataFrame, compared: pd.DataFrame) -> str:
    """The findings' table in Markdown; what is better than plain is bold, what is worse in italics.

    Args:
        arms: As ``tables`` gives it, as is the other.
        compared: The table of comparisons.
    """
    to_plain = compared[compared["against"] == PLAIN.name]
    words = to_plain.set_index(["regime", "base", "arm"])["word"].to_dict()
    lines = []
    for (regime, base), own in arms.groupby(["regime", "base"]):
        ends = own.set_index("arm")["test"]
        kinds = {name: named(name) for name in ends.index}
        dice = [name for name, arm in kinds.items() if is_dice(arm) and not arm.dropout][:BEST]
        cells = [
            [PLAIN.name],
            [name for name, arm in kinds.items() if arm in regularisers() and arm.dropout],
            [name for name, arm in kinds.items() if arm.weight_decay is not None],
            ["skipupdate"],
            ["magma"],
            dice,
            [STANDING],
            [f"raw:{CLASSIC}"],
        ]
        accuracy = metric_of(regime).sign > 0
        shown = [
            ", ".join(
                _marked(ends[name], accuracy, words.get((regime, base, name))) for name in cell
            )
            for cell in cells
        ]
        lines.append(" | ".join([f"| `{regime}`", NAMES[base], *shown]) + " |")
    return "\n".join(lines)


def words(table: pd.DataFrame) -> str:
    """The verdicts in Markdown.

    Args:
        table: As ``tables`` gives it.
    """
    lines = []
    for row in table.sort_values(["regime", "base"]).to_dict("records"):
        metric, word = metric_of(row["regime"]), row["verdict"]
        unit, digits = ("nats", 3) if metric.sign < 0 else ("points", 2)
        cells = [
            f"`{row['regime']}`",
            NAMES[row["base"]],
            word if word == UNDECIDED else f"**{word}**",
            str(row["better"]),
            str(row["worse"]),
            f"{metric.factor * row['would show']:.{digits}f} {unit}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _marked(end: float, accuracy: bool, word: str | None) -> str:
    text = f"{100 * end:.1f} %" if accuracy else f"{end:.3f}"
    mark = {"better": "**", "worse": "*"}.get(word or "", "")
    return f"{mark}{text}{mark}"


def labels(regime: str, base: str, rows: Rows) -> list[Label]:
    """The rows of a panel: the same in every panel, whoever is best in it."""
    there = finalists(regime, base, rows)
    first, second, third = [arm.name for arm in there if is_dice(arm)][:3]
    own = [arm for arm in there if arm in regularisers()]
    dropout = next((arm.name for arm in own if arm.dropout), "")
    decay = next((arm.name for arm in own if arm.weight_decay is not None), "")
    return [
        ("plain, stopped early", STOPPED, GREY),
        ("best dropout", dropout, GREEN),
        ("best weight decay", decay, GREEN),
        ("SkipUpdate", "skipupdate", ORANGE),
        ("Magma", "magma", ORANGE),
        ("dice: best in tuning", first, BLUE),
        ("dice: second", second, BLUE),
        ("dice: third", third, BLUE),
        ("dice: threshold 10, skip, a roll a tensor", STANDING, BLUE),
        ("best dice and best dropout", f"{first}+{dropout}", BLUE),
        ("Gaussian instead of the best dice", f"gaussian:{first}", GREY),
        ("a deck instead of the best dice", f"deck:{first}", GREY),
        ("plain, root-mean-square step of the best dice", f"rms:{first}", GREY),
        ("as they stand: threshold 5, updates", "raw:t5-margin-model-update-all", FAINT),
        ("as they stand: threshold 10, gradients", "raw:t10-margin-model-gradient-all", FAINT),
        ("as they stand: threshold 15, gradients", f"raw:{CLASSIC}", FAINT),
    ]


def figure(rows: Rows, base: str) -> Callable[[], Any]:
    """Differences to plain with their 95 % intervals, a panel for each regime."""
    regimes = [regime for regime, own in complete(rows) if own == base]
    wides = [values(regime, base, rows) for regime in regimes]
    shown = [labels(regime, base, rows) for regime in regimes]
    there = [
        any(arm in wide for (_, arm, _), wide in zip(line, wides, strict=True))
        for line in zip(*shown, strict=True)
    ]
    shown = [list(compress(own, there)) for own in shown]

    def plot() -> Any:
        across = min(len(regimes), ACROSS)
        down = -(-len(regimes) // across)
        made = house_figure(4.6 * down)
        made.set_figwidth(2.6 + 1.75 * across)
        panels = list(made.subplots(down, across, sharey=True, squeeze=False).flat)
        for axes in panels[len(regimes) :]:
            axes.set_visible(False)
        for axes, regime, wide, own in zip(panels, regimes, wides, shown, strict=False):
            _panel(axes, wide, own, regime)
        names = [name for name, *_ in shown[0]]
        panels[0].set_yticks(range(len(names)), labels=names, fontsize=8)
        panels[0].invert_yaxis()
        return made

    return plot


def _panel(axes: Any, wide: pd.DataFrame, shown: Sequence[Label], regime: str) -> None:
    metric = metric_of(regime)
    axes.axvline(0, color=GREY, linewidth=0.8)
    gains = {
        arm: metric.sign * metric.factor * (wide[arm] - wide[PLAIN.name]).dropna()
        for _, arm, _ in shown
        if arm in wide
    }
    needed = [
        1.2 * abs(gains[arm].mean()) for _, arm, colour in shown if arm in gains and colour != FAINT
    ]
    reach = max(SHOWN[metric.sign], *needed)
    for place, (_, arm, colour) in enumerate(shown):
        if arm not in gains:
            continue
        middle = gains[arm].mean()
        if not abs(middle) <= reach:  # beyond the panel, or nowhere, as all of them diverged
            marker = ">" if middle > 0 else "<"
            axes.plot([reach if middle > 0 else -reach], [place], marker, color=colour, ms=5)
            continue
        half = stats.t.ppf(0.975, len(gains[arm]) - 1) * gains[arm].sem()
        axes.errorbar([middle], [place], xerr=[half], fmt="o", color=colour, ms=4, lw=1.4)
    axes.set_xlim(-1.05 * reach, 1.05 * reach)
    axes.set_title(regime, fontsize=9)
    unit = "nats per byte" if metric.sign < 0 else "% points"
    axes.set_xlabel(f"better than plain by\n({unit})", fontsize=8)
    axes.tick_params(labelsize=8)


def main() -> None:
    """Write everything that follows from the rows."""
    rows = Rows(read_lines(RESULTS / "rows.jsonl"))
    for folder in ("tables", "plots"):
        (RESULTS / folder).mkdir(parents=True, exist_ok=True)
    for name, table in tables(rows).items():
        table.to_csv(RESULTS / "tables" / f"{name}.csv", index=False, float_format="%.6g")
    for base in dict.fromkeys(base for _, base in complete(rows)):
        (RESULTS / "plots" / f"{base}.png").write_bytes(draw(figure(rows, base)))


if __name__ == "__main__":
    main()
