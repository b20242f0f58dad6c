"""What is to be run next: learning rates, then the comparison, then some of it once more.

Everything that is decided from results is decided here, by rules that were written down before
there were any (README.md).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any

from arms import (
    PLAIN,
    Arm,
    as_they_stand,
    controls_of,
    dice_arms,
    named,
    neighbours,
    regularisers,
    shorter,
    together,
)
from regimes import REGIMES

TUNING_SEED = 100
CONFIRMING_SEEDS = (101, 102)
"""With which what is compared is tuned twice more, so that no rate is one run's luck."""
SEEDS = range(10)
REPEATED_SEEDS = range(20, 30)
"""Of the arms that are compared a second time."""
DICE_SEED = 10_000
"""Added to a run's seed for its dice."""
GRIDS = {"adamw": 0.001, "rmsprop": 0.00025, "sgd": 0.0125}
"""The lowest of the learning rates that every arm is tried with, where a regime has no own."""
POINTS = 5
FACTOR = 2.0
EXTENSIONS = 3
"""Most rates that a grid is extended by, on either side, while the best one lies on its edge."""
STANDING = "t10-skip-tensor-update-hidden"
"""What the literature favours among dice; compared whatever it comes to in tuning."""
CLASSIC = "t15-margin-model-gradient-all"
BEST = 3
"""Dice that are compared because they came out best in tuning."""
LONGER = {"manual_long": "manual"}
"""Regimes that compare what another one does."""


class Rows:
    """What has been run.

    Args:
        rows: Of all regimes and base optimizers, as ``run.py`` writes them.
    """

    def __init__(self, rows: Iterable[Mapping[str, Any]]) -> None:
        self._rows = list(rows)
        self._tuned: dict[tuple[str, str, str, int], dict[float, float]] = defaultdict(dict)
        for row in self._rows:
            if row["seed"] in (TUNING_SEED, *CONFIRMING_SEEDS):
                own = row["regime"], row["base"], row["arm"], row["seed"]
                self._tuned[own][row["lr"]] = value_of(row)

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        return iter(self._rows)

    def tried(self, regime: str, base: str, arm: Arm) -> dict[float, float]:
        """What the learning rates of an arm came to in tuning, less being better."""
        return self._tuned.get((regime, base, arm.name, TUNING_SEED), {})

    def confirmed(self, regime: str, base: str, arm: Arm) -> dict[float, float]:
        """The same as a mean over three seeds, for the rates that were run with all of them."""
        seeds = (TUNING_SEED, *CONFIRMING_SEEDS)
        own = [self._tuned.get((regime, base, arm.name, seed), {}) for seed in seeds]
        common = set.intersection(*map(set, own))
        return {rate: fmean(values[rate] for values in own) for rate in common}


def arms_of(regime: str, base: str, rows: Rows) -> list[Arm]:
    """The arms whose learning rate is tuned, or none if what they hang on is not there yet."""
    if regime in LONGER:
        there = finalists(LONGER[regime], base, rows)
        return [arm for arm in there if _is_tuned(arm)]
    decays = [arm for arm in regularisers() if arm.weight_decay is None or base == "adamw"]
    return [PLAIN, *decays, *neighbours(), *_dice(base)]


def tuning(regime: str, base: str, rows: Rows) -> list[dict[str, Any]]:
    """Runs that tune the learning rates, those made already among them."""
    lines = []
    for arm in arms_of(regime, base, rows):
        tried = rows.tried(regime, base, arm)
        lines += [
            _line(regime, base, arm, lr, TUNING_SEED) for lr in _grid(_lowest(regime, base), tried)
        ]
    return lines


def confirming(regime: str, base: str, rows: Rows) -> list[dict[str, Any]]:
    """Runs that tune what is compared with two more seeds, at every rate that was tried."""
    return [
        _line(regime, base, arm, lr, seed)
        for arm in finalists(regime, base, rows)
        if _is_tuned(arm)
        for lr in sorted(rows.tried(regime, base, arm))
        for seed in CONFIRMING_SEEDS
    ]


def comparison(regime: str, base: str, rows: Rows) -> list[dict[str, Any]]:
    """Runs that are compared; none while a learning rate that they take is not known."""
    return _at_their_rates(regime, base, finalists(regime, base, rows), SEEDS, rows)


def repetition(regime: str, base: str, rows: Rows) -> list[dict[str, Any]]:
    """A second comparison of some arms, with other seeds; empty as long as the first one is."""
    if not comparison(regime, base, rows):
        return []
    return _at_their_rates(regime, base, repeated(regime, base, rows), REPEATED_SEEDS, rows)


def repeated(regime: str, base: str, rows: Rows) -> list[Arm]:
    """Plain training, the regularisers that are compared, the best dice and ``STANDING``."""
    there = finalists(regime, base, rows)
    dice = [arm for arm in there if arm in _dice(base)][:1]
    return [arm for arm in there if arm in (PLAIN, *regularisers(), *dice, named(STANDING))]


def finalists(regime: str, base: str, rows: Rows) -> list[Arm]:
    """The arms that are compared; none while one of them hangs on runs that are not made yet."""
    if regime in LONGER:
        return finalists(LONGER[regime], base, rows)
    if any(_tuned(regime, base, arm, rows) is None for arm in arms_of(regime, base, rows)):
        return []

    def best(arms: Iterable[Arm], count: int = 1) -> list[Arm]:
        return sorted(arms, key=lambda arm: _tuned(regime, base, arm, rows))[:count]  # type: ignore[arg-type,return-value]

    regularised = [arm for arm in arms_of(regime, base, rows) if arm in regularisers()]
    (dropout,) = best(arm for arm in regularised if arm.dropout)
    decay = best(arm for arm in regularised if arm.weight_decay is not None)
    dice = best(_dice(base), BEST)
    dice += [arm for arm in map(named, (STANDING, CLASSIC)) if arm not in dice]
    controls = controls_of(dice[0])
    if dice[0].name != STANDING:
        controls += controls_of(named(STANDING))
    return [
        PLAIN,
        dropout,
        *decay,
        *shorter(),
        *neighbours(),
        *dice,
        *controls,
        together(dice[0], dropout),
        *as_they_stand(),
    ]


def rate_of(regime: str, base: str, arm: Arm, rows: Rows) -> float | None:
    """The learning rate that an arm is compared with; ``None`` if it is not known yet.

    Controls and combinations have that of their dice; what has no dice, or has them as they stand,
    that of plain training.
    """
    if _is_tuned(arm):
        return _confirmed(regime, base, arm, rows)
    name = arm.name.partition("+")[0]
    kind, _, of = name.rpartition(":")
    owner = PLAIN if kind == "raw" or arm in shorter() else named(of)
    return rate_of(regime, base, owner, rows)


def edge_of(regime: str, base: str, arm: Arm, rows: Rows) -> bool | None:
    """Whether the best rate is the last that was tried; ``None`` for arms that are not tuned."""
    known = _confirmed(regime, base, arm, rows) if _is_tuned(arm) else None
    if known is None:
        return None
    tried = rows.tried(regime, base, arm)
    return known in (min(tried), max(tried))


def value_of(row: Mapping[str, Any]) -> float:
    """What a run came to on the validation part at its end, less being better."""
    if row["diverged"]:
        return math.inf
    accuracy: float | None = row["val_accuracy"]
    value: float = row["val_loss"] if accuracy is None else -accuracy
    return value


def _dice(base: str) -> Sequence[Arm]:
    """All of them under AdamW; under others those that tell most, as each costs five runs."""
    if base == "adamw":
        return dice_arms()
    return [
        arm
        for arm in dice_arms()
        if (arm.scope, arm.include) == ("model", "all")
        or (arm.scope, arm.include, arm.target) == ("tensor", "hidden", "update")
    ]


def _is_tuned(arm: Arm) -> bool:
    return ":" not in arm.name and "+" not in arm.name and arm not in shorter()


def _grid(first: float, tried: Mapping[float, float]) -> list[float]:
    """The rates to try: the common grid, and where the best was on an edge one beyond it."""
    grid = [first * FACTOR**point for point in range(POINTS)]
    lower, upper = min([*tried, grid[0]]), max([*tried, grid[-1]])
    rates = _between(first, lower, upper)
    if not all(rate in tried for rate in rates):
        return rates
    best = min(rates, key=lambda rate: tried[rate])
    least, most = grid[0] / FACTOR**EXTENSIONS, grid[-1] * FACTOR**EXTENSIONS
    if math.isinf(tried[best]) or best == lower:
        return rates if lower <= least else [lower / FACTOR, *rates]
    if best == upper:
        return rates if upper >= most else [*rates, upper * FACTOR]
    return rates


def _lowest(regime: str, base: str) -> float:
    return REGIMES[regime].lowest or GRIDS[base]


def _between(first: float, lower: float, upper: float) -> list[float]:
    points = range(-EXTENSIONS, POINTS + EXTENSIONS)
    return [rate for p in points if lower <= (rate := first * FACTOR**p) <= upper]


def _tuned(regime: str, base: str, arm: Arm, rows: Rows) -> float | None:
    """What an arm came to at its best learning rate; ``None`` while it is being tuned."""
    tried = rows.tried(regime, base, arm)
    if not all(rate in tried for rate in _grid(_lowest(regime, base), tried)):
        return None
    return min(tried.values())


def _confirmed(regime: str, base: str, arm: Arm, rows: Rows) -> float | None:
    """The learning rate that is best over three seeds; ``None`` while it is not known."""
    means, tried = rows.confirmed(regime, base, arm), rows.tried(regime, base, arm)
    if _tuned(regime, base, arm, rows) is None or means.keys() != tried.keys():
        return None
    return min(means, key=lambda rate: (means[rate], rate))


def _at_their_rates(
    regime: str, base: str, arms: Iterable[Arm], seeds: Iterable[int], rows: Rows
) -> list[dict[str, Any]]:
    rates = {arm: rate_of(regime, base, arm, rows) for arm in arms}
    if None in rates.values():
        return []
    return [_line(regime, base, arm, lr, seed) for arm, lr in rates.items() for seed in seeds]  # type: ignore[arg-type]


def _line(regime: str, base: str, arm: Arm, lr: float, seed: int) -> dict[str, Any]:
    line = {"regime": regime, "base": base, "arm": arm.name, "lr": lr, "seed": seed}
    return {**line, "dice_seed": seed + DICE_SEED}


def parts() -> list[tuple[str, str]]:
    """Every regime with each of its base optimizers, in the order in which they are run."""
    order: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for regime in REGIMES.values():
        for place, base in enumerate(regime.bases):
            order[str(place)].append((regime.name, base))
    return [part for place in sorted(order) for part in order[place]]
