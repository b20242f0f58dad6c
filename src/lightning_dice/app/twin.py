"""The plain twin of a run: the same seed, model and data, trained without dice."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from pathlib import Path

from omegaconf import DictConfig

from lightning_dice.analysis import write_report
from lightning_dice.analysis.run import TWIN
from lightning_dice.app.folder import ended
from lightning_dice.app.summary import NAME
from lightning_dice.app.train import Summary, train
from lightning_dice.rules import SettingError

_OVER = "the run has finished, and nothing is left to train"


def twin_of(folder: Path) -> Path:
    """Return the folder of a run's plain twin, which lies within that of the run."""
    return folder / TWIN


def train_both(
    config: DictConfig,
    folder: Path,
    choices: Mapping[str, str],
    told: Callable[[str], None] = lambda line: None,
) -> tuple[Summary, Summary | None]:
    """Train a run and, with ``twin=true``, its plain twin, and report both.

    The twin is a run like any other, in the folder ``plain`` within the run's. Where both were
    begun, ``ckpt_path=last`` resumes those that have not finished.

    Args:
        config: A composed configuration.
        folder: The output folder of the run.
        choices: The option that was chosen of each config group.
        told: Is told which of the two begins.

    Returns:
        The summaries of the run and of its twin, if it has one.

    Raises:
        SettingError: If a setting cannot be used, before anything is written.
    """
    if not config.twin:
        if ended(config, folder) is not None:
            told(_OVER)
        return train(config, folder, choices), None
    if config.control == "plain":
        raise SettingError("twin", True, "a plain run is its own twin; leave out twin or control")
    own = _without_twin(config)
    plain = _without_twin(config)
    plain.control = "plain"
    place = twin_of(folder)
    if not (place / NAME).is_file():
        plain.ckpt_path = None
    elif plain.ckpt_path is not None:
        plain.ckpt_path = "last"
    over = ended(own, folder) is not None and ended(plain, place) is not None
    told(_OVER if over else "with dice, then without: the same seed, model and data")
    summary = train(own, folder, choices)
    if not over:
        told("plain training, without dice")
    twin = train(plain, place, {**choices, "control": "plain"})
    if config.report and not over:
        write_report(folder)  # which knows its twin now
    return summary, twin


def _without_twin(config: DictConfig) -> DictConfig:
    own = copy.deepcopy(config)
    own.twin = False
    return own
