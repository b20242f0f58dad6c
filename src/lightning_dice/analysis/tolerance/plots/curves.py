"""What is kept as dice grow harsher: against the rolls that reverse, and against the mean step."""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from lightning_dice.analysis.style import FAINT, INK, house_figure
from lightning_dice.analysis.sweep.arms import Arm
from lightning_dice.analysis.sweep.plots.frames import (
    Drawing,
    Line,
    draw_line,
    drawings,
    head,
    measure_axis,
    share_legend,
)
from lightning_dice.analysis.sweep.statistics import MIN_SEEDS
from lightning_dice.analysis.tolerance.curves import points
from lightning_dice.analysis.tolerance.plots.panels import Sheet, looks, panels, sheets
from lightning_dice.analysis.tolerance.rows import scores
from lightning_dice.analysis.tolerance.study import Tolerance
from lightning_dice.analysis.tolerance.texts import share, span
from lightning_dice.analysis.tolerance.trials import same_step_arms

STEP = "mean_scale"
_AXES = {
    "inverse": "share of rolls that reverse",
    "discard": "share of rolls that discard",
    STEP: "expected scale E[s]",
}
_BANDS = "Bands are 95 % confidence intervals over the seeds. "
_READING = (
    "Each point is a threshold; plain training is the first, at 0. The dotted line is the margin "
    "within which a run survives."
)
_STEP_READING = (
    "Solid, with filled marks: dice. Dashed, with hollow marks and in the same colour: training "
    "without dice at the same mean step. The axis runs from plain training, E[s] = 1, to harsher "
    "dice; what the dashed line keeps and the solid one does not is lost to the noise."
)


def curves(study: Tolerance) -> list[Drawing]:
    """Figures of what is kept against the share of rolls that reverse or discard."""
    return drawings(
        "curves",
        "What each optimizer keeps",
        _BANDS + _READING if study.seeds >= MIN_SEEDS else _READING,
        sheets(study),
        lambda sheet: _said(study, sheet, _message(study, sheet)),
        lambda sheet, said: _draw(study, sheet, said, None),
    )


def step(study: Tolerance) -> list[Drawing]:
    """The same against E[s], beside the control with the same mean step, where there is one."""
    if not any(same_step_arms(study.sweep, family) for family in study.families):
        return []
    return drawings(
        "step",
        "The noise, or the smaller step?",
        _STEP_READING,
        sheets(study),
        lambda sheet: _said(study, sheet, _step_message(study, sheet)),
        lambda sheet, said: _draw(study, sheet, said, STEP),
    )


def _said(study: Tolerance, sheet: Sheet, message: str) -> str:
    """A message that begins with the clipping, where it differs."""
    clipping = study.subjects[sheet.subjects[0]].clipping
    text = f"{clipping}: {message}" if clipping else message
    return f"{text[0].upper()}{text[1:]}"


def _message(study: Tolerance, sheet: Sheet) -> str:
    own = [row for row in scores(study).values() if row.subject in sheet.subjects]
    if not own:
        return "what is left as dice grow harsher"
    if len(own) > 1 and len({(row.best_rank, row.worst_rank) for row in own}) == 1:
        why = "too few seeds to rank" if own[0].n < MIN_SEEDS else "no optimizer stands out"
        kept = span(min(row.mean for row in own), max(row.mean for row in own))
        return f"{why}: {kept} of plain was kept on average"
    ends = [f"{share(row.mean)} with {study.subjects[row.subject].line}" for row in own]
    return f"on average {', '.join(dict.fromkeys([ends[0], ends[-1]]))} of plain was kept"


def _step_message(study: Tolerance, sheet: Sheet) -> str:
    own = study.areas[study.areas["subject"].isin(sheet.subjects)]
    own = own[own["kept_same_step"].notna()]
    if not len(own):
        return "dice beside training at the same mean step"
    dice, control = own[["kept_dice", "kept_same_step"]].mean()
    return (
        f"dice kept {share(dice)} on average, and the same mean step without dice {share(control)}"
    )


def _draw(study: Tolerance, sheet: Sheet, message: str, x: str | None) -> Figure:
    figure = house_figure(1.5 + 2.05 * len(sheet.rows))
    width = len(sheet.rows[0])
    axes = figure.subplots(len(sheet.rows), width, squeeze=False, sharey=study.has_shares)
    for place, family in panels(study, sheet.rows, axes):
        for subject in sheet.subjects:
            named = "same mean step, by colour" if subject == sheet.subjects[-1] else ""
            _draw_subject(place, study, subject, family, x, named)
        _finish(place, study, x or study.families[family].dose)
        if place in axes[:, 0] or not study.has_shares:
            _label(place, study)
    share_legend(figure)
    head(figure, message)
    return figure


def _draw_subject(
    axes: Axes, study: Tolerance, subject: int, family: int, x: str | None, control_name: str
) -> None:
    one = study.families[family]
    draw = partial(_line, axes, study, subject, x or one.dose)
    look, name = looks(study)[subject], study.subjects[subject].line
    if x is None:
        draw([*one.arms], look, name, None)
        return
    draw([*one.arms], look._replace(dashes="-"), name, None)
    control = list(same_step_arms(study.sweep, one).values())
    draw(control, look._replace(dashes=(0, (3, 1.5))), control_name, "white")


def _line(
    axes: Axes,
    study: Tolerance,
    subject: int,
    x: str,
    arms: list[int],
    look: Line,
    label: str,
    face: str | None,
) -> None:
    y = "kept" if study.has_shares else "final"
    plain = study.sweep.arms.index(Arm("plain"))
    if not len(found := points(study.curves, subject, arms, x, y)):
        return
    start = points(study.curves, subject, [plain], x, y)
    curve = pd.concat([start, found]).sort_values("x", kind="stable")
    at, mean, low, high = (curve[name].to_numpy(float) for name in ("x", "mean", "low", "high"))
    if x == STEP:  # so many lines cross here that bands would hide them
        low = high = np.full_like(mean, np.nan)
    more = {} if face is None else {"markerfacecolor": face}
    draw_line(axes, at, mean, low, high, look, label, linewidth=1.3, **more)


def _finish(axes: Axes, study: Tolerance, x: str) -> None:
    axes.grid(axis="y", color=FAINT, linewidth=0.4)
    axes.set_xlabel(_AXES[x], fontsize=9)
    if x == STEP:
        axes.invert_xaxis()
    else:
        axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=None, symbol=" %"))
    if study.has_shares and study.within.relative:
        margin = 1 - study.within.amount
        axes.axhline(margin, color=INK, linewidth=0.9, linestyle=(0, (1, 2)))


def _label(axes: Axes, study: Tolerance) -> None:
    if not study.has_shares:
        measure_axis(axes, study.measure)
        return
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=None, symbol=" %"))
    axes.set_ylabel("kept of plain")
