"""What the page knows of saving throws: every number computed by the rules, exactly."""

from __future__ import annotations

import inspect
import math
from math import lcm
from typing import Any, get_args

from lightning_dice.rules import SCALINGS, Die, Outcome, SavingThrow
from lightning_dice.rules.saving_throw import Normalize

DICE = ("d4", "d6", "d8", "d10", "d12", "d20", "d20+2", "d20-2", "2d20kh1", "2d20kl1")
"""The dice of the page, each with all of its thresholds."""


def tables() -> dict[str, Any]:
    """Dice, saving throws and defaults as JSON values.

    A factor is a numerator over the table's denominator, ``None`` a discard; means are a numerator
    and a denominator; probabilities and roots are the nearest floats.

    Example:
        >>> d4 = tables()["dice"]["d4"]
        >>> d4["thresholds"][2]["scalings"]["margin"]["raw"]
        [None, -1, 3, 4]
        >>> d4["thresholds"][2]["outcomes"]
        '0123'
    """
    signature = inspect.signature(SavingThrow).parameters
    return {
        "dice": {notation: _die(Die.parse(notation)) for notation in DICE},
        "scalings": list(SCALINGS),
        "normalizes": list(get_args(Normalize)),
        "defaults": {name: parameter.default for name, parameter in signature.items()},
    }


def _die(die: Die) -> dict[str, Any]:
    return {
        "sides": die.sides,
        "modifier": die.modifier,
        "count": die.count,
        "keep": die.keep,
        "chances": [float(die.chance(natural)) for natural in die.faces],
        "thresholds": [_threshold(die, threshold) for threshold in range(1, die.max_total + 1)],
    }


def _threshold(die: Die, threshold: int) -> dict[str, Any]:
    throw = SavingThrow(die, threshold)
    outcomes = list(Outcome)
    return {
        "outcomes": "".join(str(outcomes.index(throw.resolve(n).outcome)) for n in die.faces),
        "probability": [float(throw.odds().probability[outcome]) for outcome in outcomes],
        "scalings": {name: _scaling(SavingThrow(die, threshold, name)) for name in SCALINGS},
    }


def _scaling(throw: SavingThrow) -> dict[str, Any]:
    odds = throw.odds()
    over = lcm(*(factor.denominator for factor in throw.factors if factor is not None))
    return {
        "raw": [None if factor is None else int(factor * over) for factor in throw.factors],
        "over": over,
        "mean": [odds.mean.numerator, odds.mean.denominator],
        "square": [odds.mean_square.numerator, odds.mean_square.denominator],
        "rms": math.sqrt(odds.mean_square),
        "efficiency": float(odds.efficiency),
    }
