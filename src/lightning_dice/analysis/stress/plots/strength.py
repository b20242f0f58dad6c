"""How the metric falls as inputs and weights are disturbed."""

from __future__ import annotations

from functools import partial

import pandas as pd
from matplotlib.figure import Figure

from lightning_dice.analysis.phrases import listed
from lightning_dice.analysis.stress.gather import Stress
from lightning_dice.analysis.stress.measures import own_measure
from lightning_dice.analysis.stress.plots.frames import (
    draw_arms,
    hints,
    legend_columns,
    name_axes,
    panels,
    share_reach,
    shown_arms,
)
from lightning_dice.analysis.sweep.plots.frames import (
    Drawing,
    drawings,
    head,
    measure_axis,
    share_legend,
)
from lightning_dice.analysis.sweep.statistics import MIN_SEEDS

_AXES = {
    "noise": "deviation, share of the range",
    "blur": "deviation, share of the height",
    "occlusion": "side, share of the height",
    "contrast": "share of the contrast lost",
    "swaps": "share of the pairs exchanged",
    "deletions": "share of the bytes",
    "replacements": "share of the bytes",
    "weight noise": "norm, share of each filter's norm",
}
_READING = (
    "Each point is the mean over an arm's seeds, with its 95 % confidence interval as a band where "
    f"there are {MIN_SEEDS} or more; at 0 nothing is disturbed."
)


def strength(stress: Stress) -> list[Drawing]:
    """A figure for each context that was measured."""
    found = [
        (context, rows)
        for context, rows in stress.points.groupby("context")
        if rows["probe"].isin(["corruption", "weight noise"]).any()
    ]
    return drawings(
        "strength",
        "How much it takes",
        _READING + hints(stress, [_arms(rows) for _, rows in found]),
        found,
        partial(_message, stress),
        partial(_draw, stress),
    )


def _arms(rows: pd.DataFrame) -> list[int]:
    return sorted({int(arm) for arm in rows["arm"]})


def _message(stress: Stress, one: tuple[int, pd.DataFrame]) -> str:
    context, rows = one
    own = own_measure(stress.sweep.contexts[context].measure)
    mine = rows[(rows["probe"] == "corruption") & (rows["metric"] == own.metric)]
    where = "under corruption"
    if mine.empty:
        mine = rows[(rows["probe"] == "weight noise") & (rows["metric"] == own.metric)]
        where = "under weight noise"
    means = {arm: float(mine.loc[mine["arm"] == arm, "mean"].mean()) for arm in {*mine["arm"]}}
    arms = shown_arms(stress, _arms(rows))
    values = [f"{arm.name} {own.value(means[arm.arm])}" for arm in arms if arm.arm in means]
    best = max(means, key=lambda arm: own.gain(means[arm]))
    told = (
        listed(values)
        if len(values) < 4
        else f"best is {stress.labels.arm(stress.sweep.arms[best])}, {own.value(means[best])}"
    )
    text = f"mean {own.spoken} {where}: {told}"
    name = stress.labels.contexts[context]
    return f"{name}: {text}" if name else f"{text[0].upper()}{text[1:]}"


def _draw(stress: Stress, one: tuple[int, pd.DataFrame], message: str) -> Figure:
    context, rows = one
    own = own_measure(stress.sweep.contexts[context].measure)
    rows = rows[rows["metric"] == own.metric]
    clean = rows[rows["probe"] == "clean"].assign(strength=0.0)
    arms = shown_arms(stress, _arms(rows))
    noise = rows["probe"] == "weight noise"
    disturbed = rows[noise | (rows["probe"] == "corruption")]
    named = disturbed.assign(kind=disturbed["kind"].where(~noise, "weight noise"))
    figure, given = panels(list(dict.fromkeys(named["kind"])), 1.85, arms)
    for place, (axes, kind) in enumerate(given):
        draw_arms(axes, pd.concat([clean, named[named["kind"] == kind]]), arms)
        name_axes(axes, kind)
        axes.set_xlabel(_AXES.get(kind, "strength"), fontsize=9)
        measure_axis(axes, own, label=place % 2 == 0)
    share_reach(figure, own)
    share_legend(figure, legend_columns(arms))
    head(figure, message)
    return figure
