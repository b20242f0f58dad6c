"""What only several runs can show: learning from wrong labels, and the window of learning rates."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

import pandas as pd

from lightning_dice.analysis.phrases import NBSP
from lightning_dice.analysis.rounding import rounding_error
from lightning_dice.analysis.stress.parts import GOOD, WIDE, Part, context_names
from lightning_dice.analysis.sweep.gather import Context, Sweep
from lightning_dice.analysis.sweep.measure import Measure

NOISE, RATE = "data.label_noise", "optimizer.lr"
NEAR = 0.01
"""How much worse than the best, relative to it, still is as good."""
FEWEST = 3
"""Rates that it takes to speak of a window."""
WIDTH = Measure("width of the learning-rate window", "decades", "max", from_zero=True)


class Window(NamedTuple):
    """The learning rates around the best one with which training ends about as well.

    Attributes:
        low: The smallest.
        high: The largest.
        best: The best one.
        cut_low: Whether the grid of rates ends there, so that it may go on below.
        cut_high: Whether it may go on above.
    """

    low: float
    high: float
    best: float
    cut_low: bool
    cut_high: bool

    @property
    def decades(self) -> float:
        """Its width: the logarithm to base 10 of its ends' quotient."""
        return math.log10(self.high / self.low)


def window(rates: list[float], values: list[float], mode: str) -> Window | None:
    """The window of one arm and seed; the widest, where several rates are the best.

    Args:
        rates: Ascending.
        values: What training came to with each; NaN where it diverged.
        mode: ``max`` where more is better, else ``min``.

    Returns:
        ``None`` where no rate has a value.

    Example:
        >>> window([0.1, 0.2, 0.4, 0.8], [0.5, 0.96, 0.965, 0.1], "max")
        Window(low=0.2, high=0.4, best=0.4, cut_low=False, cut_high=False)
    """
    signed = [value if mode == "max" else -value for value in values]
    top = max((value for value in signed if math.isfinite(value)), default=None)
    if top is None:
        return None
    error = rounding_error(top)
    enough = [value >= top - NEAR * abs(top) - error for value in signed]
    found = []
    for place, value in enumerate(signed):
        if value >= top - error:
            low = high = place
            while low > 0 and enough[low - 1]:
                low -= 1
            while high < len(rates) - 1 and enough[high + 1]:
                high += 1
            ends = (low == 0, high == len(rates) - 1)
            found.append(Window(rates[low], rates[high], rates[place], *ends))
    return max(found, key=lambda one: one.decades)


def windows(sweep: Sweep) -> pd.DataFrame:
    """The window of every arm and seed that was trained with several learning rates.

    Returns:
        ``name`` (of the context without its rate), ``place`` (the position of the first such
        context), ``run`` (the label of one of the runs), ``arm``, ``seed``, the fields of
        ``Window`` and ``decades``.
    """
    rows = [
        {"name": name, "place": place, "run": runs.index[0], "arm": arm, "seed": seed}
        | found._asdict()
        | {"decades": found.decades}
        for name, place, (arm, seed), runs in _rated(sweep)
        if (found := _window(sweep, place, runs)) is not None
    ]
    columns = ["name", "place", "run", "arm", "seed", *Window._fields, "decades"]
    return pd.DataFrame(rows, columns=columns)


def window_parts(sweep: Sweep, found: pd.DataFrame) -> list[Part]:
    """The windows' widths.

    Args:
        sweep: The runs.
        found: What ``windows`` gave.
    """
    parts = []
    for place in sorted(set(found["place"])):
        rows = found[found["place"] == place]
        runs = sweep.runs.loc[rows["run"]].assign(final=rows["decades"].to_numpy())
        values = {**sweep.contexts[place].values, RATE: None}
        parts.append(Part(str(rows["name"].iloc[0]), WIDTH, WIDE, values, runs))
    return parts


def noise_parts(sweep: Sweep) -> list[Part]:
    """What training came to at each share of wrong labels, where there are several."""
    plain = [_without(context, NOISE) for context in sweep.contexts]
    names = context_names(sweep, plain)
    shares = Counter(map(_key, plain))
    parts = []
    for place, context in enumerate(sweep.contexts):
        noise = context.values.get(NOISE)
        if isinstance(noise, float) and shares[_key(plain[place])] > 1:
            spoken = context.measure.spoken.removeprefix("validation ")
            told = f"{spoken} with {100 * noise:g}{NBSP}% wrong labels"
            runs = sweep.runs[sweep.runs["context"] == place]
            measure = context.measure._replace(metric=told)
            parts.append(Part(names[place], measure, GOOD, context.values, runs))
    return parts


def _without(context: Context, column: str) -> Context:
    values = {name: value for name, value in context.values.items() if name != column}
    return context._replace(values=values)


def _key(context: Context) -> tuple[Any, ...]:
    return tuple(context.values.items()), context.measure


def _rated(sweep: Sweep) -> Iterator[tuple[str, int, tuple[int, int], pd.DataFrame]]:
    """Runs that only the learning rate tells apart, ascending in it."""
    if not any(RATE in context.values for context in sweep.contexts):
        return
    plain = [_without(context, RATE) for context in sweep.contexts]
    names = context_names(sweep, plain)
    first: dict[Any, int] = {}
    for place, context in enumerate(plain):
        first.setdefault(_key(context), place)
    together = [first[_key(context)] for context in plain]
    runs = sweep.runs.assign(together=[together[place] for place in sweep.runs["context"]])
    for _, group in runs.groupby(["together", "arm", "seed"]):
        rated = group[group["lr"] > 0].sort_values("lr").drop_duplicates("lr")
        if len(rated) >= FEWEST:
            place, arm, seed = map(int, group[["together", "arm", "seed"]].iloc[0])
            yield names[place], place, (arm, seed), rated


def _window(sweep: Sweep, place: int, runs: pd.DataFrame) -> Window | None:
    mode = sweep.contexts[place].measure.mode
    return window(runs["lr"].tolist(), runs["final"].tolist(), mode)
