"""One training run, from a configuration to a folder."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import torch
from lightning.pytorch import Callback, Trainer, seed_everything
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities import rank_zero_only, rank_zero_warn
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from lightning_dice.analysis import write_report
from lightning_dice.app.build import (
    build_arm,
    build_dice,
    build_task,
    build_throw,
    build_trainer,
    check_batches,
)
from lightning_dice.app.checkpoints import CHECKPOINTS, LAST
from lightning_dice.app.data.base import Baseline, TaskData
from lightning_dice.app.guard import SameEverywhere
from lightning_dice.app.metrics_file import metrics_file
from lightning_dice.app.models.base import Metric, TaskModel
from lightning_dice.app.processes import (
    Job,
    RankFailed,
    Stopped,
    hear_quietly,
    run_processes,
    stopped,
    wants_processes,
)
from lightning_dice.app.summary import (
    FORMAT,
    NAME,
    describe_control,
    describe_dice,
    flat_settings,
    read_summary,
    versions,
    write_summary,
    write_whole,
)
from lightning_dice.callback import SavingThrowCallback
from lightning_dice.rules import SettingError

Summary = dict[str, Any]


class _Plan(NamedTuple):
    """What was built from a configuration, nothing of it started."""

    dice: SavingThrowCallback
    control: Mapping[str, Any]
    model: TaskModel
    data: TaskData
    trainer: Trainer
    checkpoint: Path | None
    next_step: int


def train(config: DictConfig, folder: Path, choices: Mapping[str, str]) -> Summary:
    """Train what ``config`` describes and leave its record in ``folder``.

    The folder gets ``config.yaml``, ``rolls.csv``, ``metrics.csv``, ``summary.json``, checkpoints
    and ``report.html``; ``summary.json`` says ``running`` until it says how the run ended.

    Where the Trainer wants several processes that nobody has started, this one starts them and
    waits for their end.

    Args:
        config: A composed configuration, as ``conf/train.yaml`` has it.
        folder: The output folder.
        choices: Which option of each config group was chosen.

    Returns:
        What ``summary.json`` holds.

    Raises:
        SettingError: If a setting cannot be used, before anything is written.
        RankFailed: If one of several processes fails.
    """
    plan = _prepare(config, folder)
    job = Job(config, folder, choices)
    return _train_in_processes(job, plan) if wants_processes(plan.trainer) else _train(job, plan)


def _prepare(config: DictConfig, folder: Path) -> _Plan:
    """Build everything, as what cannot be built is refused before anything is written."""
    if not 0 <= config.seed < 2**32:  # what numpy takes; the dice's own seed may be larger
        raise SettingError("seed", config.seed, "expected a whole number from 0 to 2^32 - 1")
    strategy = str(config.trainer.strategy)
    if {"spawn", "fork", "notebook"} & set(strategy.split("_")):
        remedy = "the processes of a job are started from its configuration; use strategy=ddp"
        raise SettingError("trainer.strategy", strategy, remedy)
    checkpoint = _find_checkpoint(config.ckpt_path, folder)
    if config.ckpt_path is not None and checkpoint is None:
        rank_zero_warn(f"{folder} holds a run that has no checkpoint yet; it begins anew")
    arm = build_arm(config)
    dice = build_dice(config)
    seed_everything(config.seed, workers=True, verbose=False)
    model, data = build_task(config, arm.lr_factor)
    next_step = 0 if checkpoint is None else _check_checkpoint(checkpoint, dice, model)
    trainer = build_trainer(config, folder, model, dice)
    check_batches(data, trainer.num_nodes * trainer.num_devices)
    hear_quietly(trainer)
    control = describe_control(config.control, build_throw(config), arm)
    return _Plan(dice, control, model, data, trainer, checkpoint, next_step)


def _train_in_processes(job: Job, plan: _Plan) -> Summary:
    _claim(job.folder, resumes=job.config.ckpt_path is not None)
    try:
        run_processes(job, plan.trainer.num_devices)
    except RankFailed as error:
        _end(job, "failed", str(error))
        raise
    except Stopped as error:
        _end(job, "interrupted", error.message)
        raise
    return read_summary(job.folder)


def _end(job: Job, status: str, error: str) -> None:
    """Say how a run ended whose ranks could not."""
    with suppress(OSError, ValueError):  # what ended it matters more; there may be no summary yet
        summary = read_summary(job.folder)
        write_summary(job.folder, {**summary, "status": status, "error": error})
        if job.config.report:
            write_report(job.folder)


def _train(job: Job, plan: _Plan) -> Summary:
    config, folder, choices = job
    dice, control, model, data, trainer, checkpoint, next_step = plan
    started, clock = datetime.now(UTC), time.perf_counter()
    baseline = data.baseline()
    is_writer = rank_zero_only.rank == 0  # type: ignore[attr-defined]
    reports = is_writer and config.report
    # From here on things are written; what could be refused has been.
    if is_writer:
        _claim(folder, resumes=config.ckpt_path is not None)
        write_whole(folder / "config.yaml", OmegaConf.to_yaml(config, resolve=True))
    trainer.loggers = [metrics_file(folder, next_step), *trainer.loggers]
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
    callbacks.insert(0, SameEverywhere(config, next_step))

    metrics: dict[str, float] = {}

    def record(status: str, error: BaseException | None = None) -> Summary:
        summary = {
            "format": FORMAT,
            "status": status,
            "error": None if error is None else _describe_end(error),
            "started": started.isoformat(timespec="seconds"),
            "wall_time": round(time.perf_counter() - clock, 3),
            "task": describe_task(choices, model.metric),
            "steps": trainer.global_step,
            "seed": config.seed,
            "settings": flat_settings(config),
            "control": control,
            **describe_dice(dice),
            "metrics": metrics,
            "baseline": _describe_baseline(baseline, model.metric),
            "versions": versions(),
        }
        if is_writer:
            write_summary(folder, summary)
        return summary

    record("running")
    try:
        trainer.fit(model, data, ckpt_path=checkpoint)
        if trainer.world_size == 1:
            metrics.update(_metrics(trainer))  # validating forgets what training measured
            trainer.validate(model, data, verbose=False)  # the last step may lie between two
        metrics.update(_metrics(trainer))
    except BaseException as error:
        asked = isinstance(error, KeyboardInterrupt | SystemExit)
        # As they were last asked for: to ask is to wait for other ranks, which may go on training.
        metrics.update(_plain_metrics(trainer._logger_connector._callback_metrics))
        with suppress(SettingError, OSError):  # the error at hand matters more
            record("interrupted" if asked else "failed", error)
            if reports:
                write_report(folder)
        raise
    finally:
        _let_go(trainer)
    summary = record("finished")
    if reports:
        write_report(folder)
    return summary


def _find_checkpoint(ckpt_path: str | None, folder: Path) -> Path | None:
    if ckpt_path is None:
        return None
    path = folder / CHECKPOINTS / LAST if ckpt_path == "last" else Path(ckpt_path)
    if ckpt_path == "last" and not path.exists() and (folder / NAME).is_file():
        return None  # it ended before its first one
    if not path.is_file():
        raise SettingError("ckpt_path", ckpt_path, f"there is no checkpoint at {path}")
    return path


def _check_checkpoint(path: Path, dice: SavingThrowCallback, model: TaskModel) -> int:
    """The step that training goes on with, if it may go on from that checkpoint."""
    try:
        checkpoint = torch.load(path, map_location="meta", weights_only=True)
        step, states = int(checkpoint["global_step"]), checkpoint["callbacks"]
        theirs = {name: weight.shape for name, weight in checkpoint["state_dict"].items()}
    except Exception as error:
        remedy = f"cannot be read as a checkpoint ({type(error).__name__})"
        raise SettingError("ckpt_path", str(path), remedy) from error
    dice.find_state(states, keys={dice.state_key})
    if theirs != {name: weight.shape for name, weight in model.state_dict().items()}:
        remedy = "holds another model; resume with the same model settings"
        raise SettingError("ckpt_path", str(path), remedy)
    return step


def _claim(folder: Path, resumes: bool) -> None:
    """Refuse a folder that cannot be written, or that holds a run that would be lost."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingError("hydra.run.dir", str(folder), f"cannot be made ({error})") from error
    if not os.access(folder, os.W_OK):
        raise SettingError("hydra.run.dir", str(folder), "cannot be written; choose another")
    if (folder / NAME).exists() and not resumes:
        raise SettingError(
            "hydra.run.dir",
            str(folder),
            "holds a run already; go on with it by ckpt_path=last, or choose another folder",
        )


def _let_go(trainer: Trainer) -> None:
    """End W&B's run, which would otherwise swallow the next job of a sweep."""
    for logger in trainer.loggers:
        if isinstance(logger, WandbLogger) and logger._experiment is not None:
            logger._experiment.finish()


def _describe_end(error: BaseException) -> str:
    signalled = stopped(error)
    return f"{type(error).__name__}: {error}" if signalled is None else signalled.message


def describe_task(choices: Mapping[str, str], metric: Metric) -> dict[str, str]:
    """What was trained on what, and what it is judged by."""
    chosen = {group: choices[group] for group in ("data", "model", "optimizer")}
    return {**chosen, "metric": metric.name, "unit": metric.unit, "mode": metric.mode}


def _describe_baseline(baseline: Baseline, metric: Metric) -> dict[str, Any]:
    return {**baseline._asdict(), "metric": metric.name}


def _metrics(trainer: Trainer) -> dict[str, float]:
    return _plain_metrics(trainer.callback_metrics)


def _plain_metrics(metrics: Mapping[str, Tensor]) -> dict[str, float]:
    return {name: float(value) for name, value in metrics.items() if not name.startswith("dice")}
