"""What training came to, the more of its labels were wrong."""

from __future__ import annotations

from functools import partial

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from lightning_dice.analysis.phrases import NBSP
from lightning_dice.analysis.stress.gather import Stress
from lightning_dice.analysis.stress.over_runs import NOISE
from lightning_dice.analysis.stress.parts import Part
from lightning_dice.analysis.stress.plots.frames import draw_arms, hints, legend_columns, shown_arms
from lightning_dice.analysis.style import blank
from lightning_dice.analysis.sweep.plots.frames import (
    Drawing,
    drawings,
    head,
    measure_axis,
    share_legend,
)
from lightning_dice.analysis.sweep.statistics import MIN_SEEDS

_READING = (
    "Labels are wrong in training only. Each point is the mean over an arm's seeds at the end of "
    f"training, with its 95 % confidence interval as a band where there are {MIN_SEEDS} or more."
)


def label_noise(stress: Stress) -> list[Drawing]:
    """A figure for each context in which the share of wrong labels differs."""
    rows = _rows(stress)
    found = [same for _, same in rows.groupby("name")] if len(rows) else []
    reading = _READING + hints(stress, [one["arm"].tolist() for one in found])
    return drawings(
        "label-noise",
        "Training on wrong labels",
        reading,
        found,
        partial(_message, stress),
        partial(_draw, stress),
    )


def _is_noise(part: Part) -> bool:
    return "probe" not in part.values and part.measure.metric.endswith("wrong labels")


def _rows(stress: Stress) -> pd.DataFrame:
    rows = [
        {"name": part.name, "noise": part.values[NOISE], "place": place, **row._asdict()}
        for place, part in enumerate(stress.tested)
        if _is_noise(part)
        for row in stress.results.summaries.values()
        if row.context == place and row.n
    ]
    return pd.DataFrame(rows)


def _message(stress: Stress, rows: pd.DataFrame) -> str:
    most = rows[rows["noise"] == rows["noise"].max()]
    measure = stress.tested[int(most["place"].iloc[0])].measure
    best = most.loc[most["mean"].idxmax() if measure.mode == "max" else most["mean"].idxmin()]
    arm = stress.labels.arm(stress.sweep.arms[int(best["arm"])])
    name = str(rows["name"].iloc[0])
    wrong, value = f"{100 * best['noise']:g}{NBSP}%", measure.value(best["mean"])
    text = f"With {wrong} of the labels wrong the best mean is {value}: {arm}"
    return f"{name}: {text}" if name else text


def _draw(stress: Stress, rows: pd.DataFrame, message: str) -> Figure:
    figure, axes = blank(3.6)
    arms = shown_arms(stress, sorted({int(arm) for arm in rows["arm"]}))
    draw_arms(axes, rows, arms, x="noise")
    run = stress.tested[int(rows["place"].iloc[0])].runs.iloc[0]
    measure_axis(axes, stress.sweep.contexts[int(run["context"])].measure)
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=" %"))
    axes.set_xticks(sorted(set(rows["noise"])))
    axes.set_xlabel("share of wrong labels")
    share_legend(figure, legend_columns(arms))
    head(figure, message)
    return figure
