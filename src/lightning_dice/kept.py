"""Make the values of the game known to those who keep hyper-parameters: torch's files and YAML.

A module that takes a saving throw may keep it with ``save_hyperparameters()``. Lightning writes it
into checkpoints, which load with ``weights_only=True`` where every class in them is known to be
safe, and into ``hparams.yaml``, which is read as plain values alone.
"""

from __future__ import annotations

from typing import Any

import torch
import yaml

from lightning_dice.rules import Die, Odds, Outcome, Roll, SavingThrow
from lightning_dice.rules.odds import restore_odds


def _represent(dumper: Any, value: Any) -> Any:
    return dumper.represent_data(_plain(value))


def _plain(value: Any) -> Any:
    if isinstance(value, SavingThrow):
        return value.settings()
    if isinstance(value, Roll):
        return {**value._asdict(), "outcome": str(value.outcome)}
    if isinstance(value, Odds):
        return {
            "probability": {str(outcome): str(p) for outcome, p in value.probability.items()},
            "scales": {"discard" if s is None else str(s): str(p) for s, p in value.scales.items()},
        }
    return str(value)


# All of them are rebuilt from plain values, and check what they are given.
torch.serialization.add_safe_globals([Die, Outcome, Roll, SavingThrow, restore_odds])
for dumper in (yaml.Dumper, yaml.SafeDumper):
    for kind in (Die, Odds, Outcome, Roll, SavingThrow):
        yaml.add_representer(kind, _represent, dumper)
