"""What was tested: dice minus control with intervals, or values where nothing can be tested."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from lightning_dice.analysis.phrases import MINUS, short
from lightning_dice.analysis.stress.gather import Stress
from lightning_dice.analysis.stress.parts import Part
from lightning_dice.analysis.stress.plots.frames import (
    arm_name,
    hints,
    name_axes,
    panels,
    shown_arms,
)
from lightning_dice.analysis.style import BLUE, FAINT, GREY, INK, VERMILLION
from lightning_dice.analysis.sweep.arms import CONTROLS, NAMES
from lightning_dice.analysis.sweep.measure import Measure
from lightning_dice.analysis.sweep.plots.frames import Drawing, drawings, head, measure_axis
from lightning_dice.analysis.sweep.results import Comparison
from lightning_dice.analysis.sweep.statistics import BETTER, MIN_SEEDS, NO_TEST, TOO_FEW, WORSE

_COLOURS = {BETTER: BLUE, WORSE: VERMILLION}
_DIFFERENCES = (
    "Dice minus control, the mean over the pairs, with its 95 % confidence interval. Filled marks "
    "are confirmed after Holm's correction; open ones may be chance."
)
_VALUES = (
    "Each mark is an arm's mean, with its 95 % confidence interval where there are "
    f"{MIN_SEEDS} seeds or more."
)
PARTS = 12
"""Most panels of one figure."""

Places = list[int]
"""Positions of the parts of one figure."""


def differences(stress: Stress) -> list[Drawing]:
    """A figure for each context."""
    tested = any(_rows(stress, place) for place in range(len(stress.tested)))
    by_name: dict[str, Places] = {}
    for place, part in enumerate(stress.tested):
        if _shown(stress, tested, place) and (tested or stress.sweep.runs["arm"].nunique() > 1):
            by_name.setdefault(part.name, []).append(place)
    found = [(name, places[:PARTS]) for name, places in by_name.items()]
    return drawings(
        "differences" if tested else "values",
        "Dice against their controls" if tested else "What was measured",
        (_DIFFERENCES if tested else _VALUES) + hints(stress),
        found,
        partial(_message, stress, tested),
        partial(_draw, stress, tested),
    )


def _control(stress: Stress, place: int) -> str | None:
    """The first of the controls that the dice are held against here."""
    there = {
        name
        for (context, _), rows in stress.results.compared.items()
        if context == place
        for name, row in rows.items()
        if row.finding not in (NO_TEST, TOO_FEW)
    }
    return next((control for control in CONTROLS if control in there), None)


def _rows(stress: Stress, place: int) -> list[Comparison]:
    control = _control(stress, place) or ""
    return [
        rows[control]
        for (context, _), rows in stress.results.compared.items()
        if context == place and control in rows
    ]


def _message(stress: Stress, tested: bool, one: tuple[str, Places]) -> str:
    name, places = one
    if not tested:
        return f"{name}: every arm" if name else "Every arm by each measure"
    rows = [row for place in places for row in _rows(stress, place)]
    there = sum(row.finding in _COLOURS for row in rows)
    control = next((c for c in map(partial(_control, stress), places) if c), "plain")
    text = f"{there} of {len(rows)} differences from {NAMES[control]} are confirmed"
    return f"{name}: {text}" if name else text


def _draw(stress: Stress, tested: bool, one: tuple[str, Places], message: str) -> Figure:
    _, places = one
    arms = [_shown(stress, tested, place) for place in places]
    most = max(map(len, arms))
    figure, given = panels(places, 0.85 + 0.2 * most)
    for column, (axes, place) in enumerate(given):
        part, mine = stress.tested[place], arms[column]
        if tested:
            _draw_differences(axes, stress, part, _rows(stress, place), mine)
        else:
            _draw_values(axes, stress, part, place, mine)
        names = [short(arm_name(stress, arm, control=not tested), 26) for arm in mine]
        there = names if column % 2 == 0 else [""] * len(names)
        axes.set_yticks(range(len(mine)), there, fontsize=8, parse_math=False)
        axes.set_ylim(len(mine) - 0.5, -0.5)
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x", color=FAINT, linewidth=0.4)
        name_axes(axes, part.measure.spoken)
    head(figure, message)
    return figure


def _shown(stress: Stress, tested: bool, place: int) -> list[int]:
    if tested:
        arms = [row.arm for row in _rows(stress, place) if row.n]
    else:
        arms = [arm for context, arm in stress.results.summaries if context == place]
    return sorted(one.arm for one in shown_arms(stress, arms))


def _draw_differences(
    axes: Axes, stress: Stress, part: Part, rows: Sequence[Comparison], arms: Sequence[int]
) -> None:
    found = {row.arm: row for row in rows}
    axes.axvline(0, color=INK, linewidth=0.8)
    for place, arm in enumerate(arms):
        row = found[arm]
        colour = _COLOURS.get(row.finding, GREY)
        if np.isfinite(row.ci_low):
            axes.plot([row.ci_low, row.ci_high], [place] * 2, color=colour, linewidth=1.4)
        face = colour if row.finding in _COLOURS else "white"
        axes.plot([row.difference], [place], color=colour, marker="o", markerfacecolor=face)
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.xaxis.set_major_formatter(FuncFormatter(partial(_tick, part.measure)))
    low, high = part.words[::-1] if part.measure.mode == "max" else part.words
    unit = f"{part.measure.step_unit}" or "difference"
    label = f"\N{LEFTWARDS ARROW} {low}    {unit}    {high} \N{RIGHTWARDS ARROW}"
    axes.set_xlabel(label, fontsize=8.5, parse_math=False)


def _tick(measure: Measure, value: float, _: int) -> str:
    shown = 100 * value if measure.share else value
    return f"{shown:g}".replace("-", MINUS)


def _draw_values(axes: Axes, stress: Stress, part: Part, context: int, arms: Sequence[int]) -> None:
    looks = {one.arm: one.look for one in shown_arms(stress, arms)}
    for place, arm in enumerate(arms):
        row, look = stress.results.summaries[context, arm], looks[arm]
        if np.isfinite(row.ci_low):
            axes.plot([row.ci_low, row.ci_high], [place] * 2, color=look.colour, linewidth=1.4)
        axes.plot([row.mean], [place], color=look.colour, marker=look.marker)
    measure_axis(axes, part.measure, axis="x", label=False)
    axes.xaxis.set_major_locator(MaxNLocator(4))
    unit = part.measure.unit if not part.measure.share else ""
    good = f"{part.measure.better} is {part.words[0]}"
    axes.set_xlabel(", ".join(filter(None, [unit, good])), fontsize=8.5, parse_math=False)
