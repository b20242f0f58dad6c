"""The measures of a record as parts: those that are tested, and all the others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import pandas as pd

from lightning_dice.analysis.stress.parts import FLAT, GOOD, Part, context_names
from lightning_dice.analysis.sweep.gather import Sweep
from lightning_dice.analysis.sweep.measure import SHARE, Measure

KEY = ["probe", "kind", "strength", "metric"]
"""The columns that tell the measures of a record apart."""
LARGEST, TRACE = "largest Hessian eigenvalue", "trace of the Hessian"
_NO_STRENGTH = -1.0
"""Stands for an empty strength, which no pivot would keep."""
_NATS = "nats"
_SHARES = ("calibration error", "confidence")


class _Tested(NamedTuple):
    measure: Measure
    words: tuple[str, str]
    of: Callable[[pd.DataFrame], pd.Series]
    """Which of the measures, of whose values it is the mean."""


def own_measure(measure: Measure) -> Measure:
    """What predictions are judged by: the task's own metric where it is one of these two.

    Example:
        >>> own_measure(Measure("val_accuracy", "share right", "max")).metric
        'accuracy'
    """
    if measure.mode == "max":
        return Measure("accuracy", SHARE, "max")
    return Measure("loss", measure.unit or _NATS, "min")


def tested_parts(sweep: Sweep, measured: pd.DataFrame) -> list[Part]:
    """The few measures that arms are compared by.

    Args:
        sweep: The runs.
        measured: Their measures: a row a value, with the run's label in ``run``.

    Returns:
        A part for each measure in each context where there is any value of it. A run that lacks one
        of the values that a mean is of has no value.
    """
    return [
        part._replace(
            measure=one.measure, words=one.words, runs=part.runs.assign(final=_mean(values, one.of))
        )
        for part, values in _contexts(sweep, measured)
        for one in _tested(own_measure(part.measure))
        if one.of(_keys(values)).any()
    ]


def all_parts(sweep: Sweep, measured: pd.DataFrame) -> list[Part]:
    """Every measure by itself; what it is, is among its part's values."""
    parts = []
    for part, values in _contexts(sweep, measured):
        for _, key in _keys(values).iterrows():
            strength = None if key["strength"] == _NO_STRENGTH else float(key["strength"])
            what = {"probe": key["probe"], "kind": key["kind"], "strength": strength}
            runs = part.runs.assign(final=values.iloc[:, int(key["place"])])
            measure = _measure(key, own_measure(part.measure))
            parts.append(part._replace(measure=measure, values={**part.values, **what}, runs=runs))
    return parts


def _contexts(sweep: Sweep, measured: pd.DataFrame) -> Iterator[tuple[Part, pd.DataFrame]]:
    """Each context with measures: its runs, and their values with a column a measure."""
    names = context_names(sweep, sweep.contexts)
    for place, context in enumerate(sweep.contexts):
        runs = sweep.runs[sweep.runs["context"] == place]
        mine = measured[measured["run"].isin(runs.index)]
        if len(mine):
            filled = mine.assign(strength=mine["strength"].fillna(_NO_STRENGTH))
            values = filled.pivot(index="run", columns=KEY, values="value")
            kept = runs.loc[values.index]
            yield Part(names[place], context.measure, GOOD, context.values, kept), values


def _keys(values: pd.DataFrame) -> pd.DataFrame:
    keys = values.columns.to_frame(index=False)
    return keys.assign(place=range(len(keys)))


def _mean(values: pd.DataFrame, of: Callable[[pd.DataFrame], pd.Series]) -> pd.Series:
    chosen = of(_keys(values)).to_numpy(bool)
    return values.loc[:, chosen].mean(axis=1, skipna=False)


def _tested(own: Measure) -> list[_Tested]:
    def scored(probe: str, kind: str | None = None) -> Callable[[pd.DataFrame], pd.Series]:
        return lambda keys: (
            (keys["probe"] == probe)
            & (keys["metric"] == own.metric)
            & (kind is None or keys["kind"] == kind)
        )

    def own_metric(where: str) -> Measure:
        return own._replace(metric=f"{own.metric} {where}")

    return [
        _Tested(own_metric("under corruption"), GOOD, scored("corruption")),
        _Tested(own_metric("under weight noise"), GOOD, scored("weight noise")),
        _Tested(own_metric("after rounding to int8"), GOOD, scored("rounding", "int8")),
        _Tested(Measure("calibration error", SHARE, "min"), GOOD, _is("calibration error")),
        _Tested(Measure("SAM sharpness", _NATS, "min"), FLAT, _middle("sam")),
        _Tested(Measure("adaptive sharpness", _NATS, "min"), FLAT, _middle("adaptive")),
        _Tested(_curvature(LARGEST), FLAT, _is("eigenvalue", 1)),
        _Tested(_curvature(TRACE), FLAT, _is("trace")),
    ]


def _is(metric: str, strength: float | None = None) -> Callable[[pd.DataFrame], pd.Series]:
    return lambda keys: (
        (keys["metric"] == metric) & (strength is None or keys["strength"] == strength)
    )


def _middle(kind: str) -> Callable[[pd.DataFrame], pd.Series]:
    """The worst case at the middle one of the radii."""

    def choose(keys: pd.DataFrame) -> pd.Series:
        mine = (keys["probe"] == "worst case") & (keys["kind"] == kind)
        radii = sorted(keys.loc[mine, "strength"])
        return mine & (keys["strength"] == (radii[len(radii) // 2] if radii else None))

    return choose


def _measure(key: pd.Series, own: Measure) -> Measure:
    metric = str(key["metric"])
    if metric == own.metric:
        return own
    if metric == "accuracy":
        return Measure(metric, SHARE, "max")
    if metric.startswith(_SHARES):
        return Measure(metric, SHARE, "min" if metric == _SHARES[0] else "max")
    return Measure(metric, _NATS, "min") if "loss" in metric else _curvature(metric)


def _curvature(metric: str) -> Measure:
    """A measure of curvature, which is below 0 where the loss curves downwards."""
    return Measure(metric, "", "min", from_zero=False)
