"""A training's dice as plain values, for ``summary.json`` and ``saving_throw.json``."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from typing import Any

import torch
from torch.optim import Optimizer

from lightning_dice import __version__
from lightning_dice.metrics.functional import OUTCOMES, luck
from lightning_dice.records import RollLog
from lightning_dice.response import response_of
from lightning_dice.rules import Odds, SavingThrow


def describe_dice(
    throw: SavingThrow, settings: Mapping[str, Any], rolls: RollLog
) -> dict[str, Any]:
    """Return the settings, the odds and the rolls of one saving throw.

    Args:
        throw: The saving throw.
        settings: Everything that decides the rolls and what they do.
        rolls: The rolls that were made.

    Example:
        >>> throw = SavingThrow("d20", threshold=10)
        >>> describe_dice(throw, throw.settings(), RollLog())["rolls"]["count"]
        0
    """
    odds, tally = throw.odds(), rolls.tally
    counts = torch.tensor([tally.counts[outcome] for outcome in OUTCOMES])
    return {
        "dice": dict(settings),
        "odds": describe_odds(odds),
        "rolls": {
            "since": rolls.since,
            "count": tally.rolls,
            "outcomes": {str(outcome): n for outcome, n in tally.counts.items()},
            "mean_scale": tally.mean_scale,
            "luck": float(luck(counts, odds)),
        },
    }


def describe_odds(odds: Odds) -> dict[str, Any]:
    """Return the odds as floats."""
    names = ("mean", "mean_square", "efficiency", "discard", "inverse", "forward")
    return {
        **{name: float(getattr(odds, name)) for name in names},
        "probability": {str(outcome): float(p) for outcome, p in odds.probability.items()},
    }


def describe_optimizers(optimizers: Iterable[Optimizer]) -> list[dict[str, str]]:
    """Return the class of each optimizer, and how it answers to a scaled gradient.

    Example:
        >>> describe_optimizers([torch.optim.AdamW([torch.nn.Parameter(torch.ones(1))])])
        [{'name': 'AdamW', 'response': 'rescales'}]
    """
    return [{"name": type(one).__name__, "response": response_of(one)} for one in optimizers]


def describe_versions(packages: Iterable[str]) -> dict[str, str]:
    """Return the versions of this package, of others and of Python, and the platform.

    Args:
        packages: Names of installed distributions.
    """
    return {
        "lightning_dice": __version__,
        **{name.replace("-", "_"): version(name) for name in packages},
        "python": platform.python_version(),
        "platform": platform.platform(),
    }
