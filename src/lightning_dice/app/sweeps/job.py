"""One job of a sweep: by itself, once, and whatever becomes of it on record."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from lightning_dice.app.build import build_metric, build_task, build_throw
from lightning_dice.app.console import complain, message_of, quieten, says_it_all, warnings_to
from lightning_dice.app.errors import JobEnded
from lightning_dice.app.lock import holding
from lightning_dice.app.summary import (
    FORMAT,
    describe_control,
    describe_task,
    flat_settings,
    versions,
    write_summary,
)
from lightning_dice.app.sweeps.devices import one_gpu
from lightning_dice.app.sweeps.status import summary_of
from lightning_dice.app.train import Build, Summary, train
from lightning_dice.rules import SettingError

_REFUSED = (SettingError, HydraException, OmegaConfBaseException)


def train_job(
    config: DictConfig,
    folder: Path,
    choices: Mapping[str, str],
    number: int,
    build: Build = build_task,
) -> Summary:
    """Train one job of a sweep in ``folder``, unless that is done already.

    A run that was begun goes on from its last checkpoint. Two processes never train in one folder:
    what is left of a sweep that was killed may still be at it.

    Args:
        config: The job's configuration.
        folder: Its output folder.
        choices: Which option of each config group was chosen.
        number: Its number in the sweep.
        build: Makes the model and its data.

    Returns:
        What ``summary.json`` holds.

    Raises:
        JobEnded: If it is refused or fails; ``summary.json`` says so.
    """
    quieten()  # this may be a process that a launcher has made
    folder.mkdir(parents=True, exist_ok=True)

    def waits(who: str) -> None:
        complain(f"{folder.name}: waits for {who}, which trains there")

    with (
        holding(folder, waits),
        warnings_to(folder / "warnings.txt"),
        one_gpu(config, number),
    ):
        try:
            return _train(config, folder, choices, build)
        except Exception as error:
            raise JobEnded(f"{folder.name}: {_words(error)}") from None  # others may not pickle


def _train(config: DictConfig, folder: Path, choices: Mapping[str, str], build: Build) -> Summary:
    recorded = summary_of(folder)
    check_same_run(folder, recorded, config)
    if recorded.get("status") == "finished":
        return recorded
    config.progress = False
    if recorded and config.ckpt_path is None:
        config.ckpt_path = "last"
    trace = folder / "error.txt"
    trace.unlink(missing_ok=True)  # of an earlier try
    started = datetime.now(UTC).isoformat(timespec="seconds")
    try:
        check_alone(config)
        return train(config, folder, choices, build)
    except Exception as error:
        trace.write_text(traceback.format_exc(), encoding="utf-8")
        now = summary_of(folder)
        if now == recorded:  # it came to nothing before anything was written
            status = "refused" if isinstance(error, _REFUSED) else "failed"
            beginning = {"format": FORMAT, "status": status, "error": _words(error)}
            write_summary(folder, {**beginning, "started": started, **_wanted(config, choices)})
        raise


def check_alone(config: DictConfig) -> None:
    """Refuse a plain twin for each run of a sweep, which would train it once per saving throw.

    Raises:
        SettingError: If a twin is asked for.
    """
    if config.get("twin"):
        raise SettingError("twin", True, "a sweep trains it once per seed with control=none,plain")


def check_same_run(folder: Path, recorded: Mapping[str, Any], config: DictConfig) -> None:
    """Refuse to take a run for another one that had its name, or to go on with it.

    Args:
        folder: The run's folder.
        recorded: Its summary.
        config: The configuration of the job at hand.

    Raises:
        SettingError: Naming what differs.
    """
    status, theirs = recorded.get("status"), recorded.get("settings")
    if status in (None, "refused") or (theirs is None and status != "finished"):
        return  # there is nothing to be taken
    if theirs is None:
        what = "holds a run that does not say its settings"
    else:
        mine = flat_settings(config)
        pairs = {key: (theirs.get(key), mine.get(key)) for key in {**theirs, **mine}}
        differ = [f"{key}={old!r} (now {new!r})" for key, (old, new) in pairs.items() if old != new]
        if not differ:
            return
        what = f"holds a run with other settings: {', '.join(differ)}"
    remedy = f"{what}; choose another folder for this sweep"
    raise SettingError("hydra.sweep.dir", str(folder), remedy)


def _words(error: Exception) -> str:
    return message_of(error) if says_it_all(error) else f"{type(error).__name__}: {error}"


def _wanted(config: DictConfig, choices: Mapping[str, str]) -> dict[str, Any]:
    """As much of a summary as can be said of what could not be built."""
    wanted: dict[str, Any] = {"seed": config.seed, "versions": versions()}
    with suppress(*_REFUSED):
        wanted["settings"] = flat_settings(config)
    with suppress(*_REFUSED):
        wanted["task"] = describe_task(choices, config, build_metric(config))
    with suppress(*_REFUSED):
        throw = build_throw(config)
        wanted["control"] = describe_control(config.control, throw, None)
    return wanted
