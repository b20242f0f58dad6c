"""``summary.json``: what a run was, and what it came to."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from lightning_dice import training_files
from lightning_dice.app.models.base import Metric
from lightning_dice.described import describe_odds, describe_versions
from lightning_dice.pages import json_text, write_json
from lightning_dice.plain_data import read_json
from lightning_dice.rules import Arm, SavingThrow

NAME, FORMAT = training_files.SUMMARY, training_files.FORMAT
OWN = "own"
"""The option for a model, or for data, that this package does not have."""
_NO_RESULT = (
    "logger",
    "ckpt_path",
    "report",
    "checkpoints",
    "trajectory",
    "progress",
    "tuned",
    "twin",
    "changes",
)
PACKAGES = ("torch", "lightning", "torchmetrics", "hydra-core", "numpy")


def write_summary(folder: Path, summary: Mapping[str, Any]) -> None:
    """Write ``summary.json`` in one piece: a reader sees the old one or the new one.

    Numbers that JSON has no word for (NaN, infinity) become ``null``. On a full disk the room of
    the old one is used, so that it can still say how the run ended.
    """
    path = folder / NAME
    try:
        write_json(path, summary)
    except OSError:
        text = json_text(summary).encode()
        if not path.is_file() or len(text) > path.stat().st_blocks * 512:
            raise
        with path.open("r+b") as file:
            file.write(text)
            file.truncate()


def read_summary(folder: Path) -> dict[str, Any]:
    """What ``write_summary`` wrote.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If it is none.
    """
    summary: dict[str, Any] = read_json(folder / NAME)
    return summary


def summary_of(folder: Path) -> dict[str, Any]:
    """A run's summary; empty where it has none that can be read.

    Example:
        >>> summary_of(Path("no-such-run"))
        {}
    """
    try:
        summary: object = read_summary(folder)
    except (OSError, ValueError):
        return {}
    return summary if isinstance(summary, dict) else {}


def describe_task(choices: Mapping[str, str], config: DictConfig, metric: Metric) -> dict[str, str]:
    """What was trained on what, and what it is judged by; one's own has the name of its class."""
    chosen = {group: choices[group] for group in ("data", "model", "optimizer")}
    for group, choice in chosen.items():
        if choice == OWN:
            chosen[group] = str(config[group]._target_).rpartition(".")[2]
    return {**chosen, "metric": metric.name, "unit": metric.unit, "mode": metric.mode}


def describe_control(control: str, throw: SavingThrow, arm: Arm | None) -> dict[str, Any]:
    """Which arm of a comparison a run is, and of which saving throw, as plain values."""
    whose = control != "plain"  # which is held against all of them
    return {
        "name": control,
        "of": throw.settings() if whose else None,
        "odds": describe_odds(throw.odds()) if whose else None,
        "lr_factor": None if arm is None else arm.lr_factor,  # refused
    }


def flat_settings(config: DictConfig) -> dict[str, Any]:
    """The resolved configuration by dotted keys, without what decides no result.

    Example:
        >>> flat_settings(OmegaConf.create({"optimizer": {"lr": 0.1}, "seed": 0, "report": True}))
        {'optimizer.lr': 0.1, 'seed': 0}
    """
    flat = flatten(config, without=_NO_RESULT)
    devices = flat.get("trainer.devices")
    if isinstance(devices, list):  # which ones they were decides nothing
        flat["trainer.devices"] = len(devices)
    return flat


def flatten(config: DictConfig, without: Collection[str] = ()) -> dict[str, Any]:
    """The resolved configuration by dotted keys.

    Args:
        config: The configuration.
        without: Keys at its top that are left out.
    """
    plain = OmegaConf.to_container(config, resolve=True)
    assert isinstance(plain, dict)
    return dict(_flat({key: plain[key] for key in plain if key not in without}))


def _flat(nested: Mapping[Any, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in nested.items():
        name = f"{above}{key}"
        if isinstance(value, Mapping):
            yield from _flat(value, f"{name}.")
        else:
            yield name, value


def versions(extras: Iterable[str] = ()) -> dict[str, str]:
    """What the run ran on.

    Args:
        extras: Packages that it needed beside those that all runs need.
    """
    return describe_versions((*PACKAGES, *extras))
