"""One training run, from a configuration to a folder."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from lightning.pytorch import (
    Callback,
    LightningDataModule,
    LightningModule,
    Trainer,
    seed_everything,
)
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities import rank_zero_only, rank_zero_warn
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from lightning_dice.analysis import write_report
from lightning_dice.app.build import (
    build_arm,
    build_dice,
    build_metric,
    build_task,
    build_throw,
    check_batches,
)
from lightning_dice.app.data.base import TaskData
from lightning_dice.app.folder import (
    Checkpoint,
    check_checkpoint,
    check_free,
    ended,
    find_checkpoint,
    make,
    read_checkpoint,
    tidy,
)
from lightning_dice.app.guard import SameEverywhere
from lightning_dice.app.last_validation import LastValidation
from lightning_dice.app.lock import clear, holding
from lightning_dice.app.metrics_file import metrics_file
from lightning_dice.app.models.base import Metric, TaskModel
from lightning_dice.app.new_rates import NewRates
from lightning_dice.app.processes import (
    Job,
    RankFailed,
    Stopped,
    hear_quietly,
    run_processes,
    stopped,
    wants_processes,
)
from lightning_dice.app.resumed import LENGTH, Trained, check_fixed, check_names, check_settings
from lightning_dice.app.summary import (
    FORMAT,
    describe_control,
    describe_task,
    flat_settings,
    read_summary,
    versions,
    write_summary,
)
from lightning_dice.app.trainer import build_trainer
from lightning_dice.callback import SavingThrowCallback
from lightning_dice.described import describe_dice, describe_optimizers
from lightning_dice.pages import write_whole
from lightning_dice.rules import SettingError

Summary = dict[str, Any]
Build = Callable[[DictConfig, float], tuple[LightningModule, LightningDataModule]]
"""Makes model and data from a configuration and a factor on the learning rate."""


class _Plan(NamedTuple):
    """What was built from a configuration, nothing of it started."""

    dice: SavingThrowCallback
    control: Mapping[str, Any]
    metric: Metric
    model: LightningModule
    data: LightningDataModule
    trainer: Trainer
    checkpoint: Checkpoint | None
    trained: Trained


def train(
    config: DictConfig, folder: Path, choices: Mapping[str, str], build: Build = build_task
) -> Summary:
    """Train what ``config`` describes and leave its record in ``folder``.

    A run that has finished, and is to go on with nothing left to train, is left as it is.

    The folder gets ``config.yaml``, ``rolls.csv``, ``metrics.csv``, ``summary.json``, checkpoints
    and ``report.html``; ``summary.json`` says ``running`` until it says how the run ended.

    Where the Trainer wants several processes that nobody has started, this one starts them and
    waits for their end.

    Args:
        config: A composed configuration, as ``conf/train.yaml`` has it.
        folder: The output folder.
        choices: Which option of each config group was chosen.
        build: Makes the model and its data; what is not in ``config`` trains in one process.

    Returns:
        What ``summary.json`` holds.

    Raises:
        SettingError: If a setting cannot be used, or another process trains there, before anything
            is written.
        RankFailed: If one of several processes fails.
    """
    over = ended(config, folder)
    if over is not None:
        clear(folder)
        return over
    with ExitStack() as stack:
        if _is_writer() and folder.is_dir():
            stack.enter_context(holding(folder))
        plan = _prepare(config, folder, build)
        if _is_writer():  # what could be refused has been
            make(folder)
            stack.enter_context(holding(folder))
            resumes = config.ckpt_path is not None
            check_free(folder, resumes)
            tidy(folder, anew=resumes and plan.checkpoint is None)
        job = Job(config, folder, choices)
        if not wants_processes(plan.trainer):
            return _train(job, plan)
        if build is not build_task:
            remedy = "a model that is no part of a configuration trains in one process; expected 1"
            raise SettingError("trainer.devices", plan.trainer.num_devices, remedy)
        return _train_in_processes(job, plan)


def train_rank(job: Job) -> Summary:
    """Train as one of the processes that ``train`` has started, and which it holds the folder for.

    Args:
        job: What it has prepared.

    Returns:
        What ``summary.json`` holds.
    """
    return _train(job, _prepare(job.config, job.folder, build_task))


def _is_writer() -> bool:
    rank: int = rank_zero_only.rank  # type: ignore[attr-defined]
    return rank == 0


def _prepare(config: DictConfig, folder: Path, build: Build) -> _Plan:
    """Build everything, as what cannot be built is refused before anything is written."""
    if not 0 <= config.seed < 2**32:  # what numpy takes; the dice's own seed may be larger
        raise SettingError("seed", config.seed, "expected a whole number from 0 to 2^32 - 1")
    strategy = str(config.trainer.strategy)
    if {"spawn", "fork", "notebook"} & set(strategy.split("_")):
        remedy = "the processes of a job are started from its configuration; use strategy=ddp"
        raise SettingError("trainer.strategy", strategy, remedy)
    path = find_checkpoint(config.ckpt_path, folder)
    if config.ckpt_path is not None and path is None:
        rank_zero_warn(f"{folder} holds a run that has no checkpoint yet; it begins anew")
    checkpoint = None if path is None else read_checkpoint(path, folder)
    arm = build_arm(config)
    trained = Trained(flat_settings(config))
    if checkpoint is not None and checkpoint.trained is not None:
        check_fixed(trained.settings, checkpoint.trained["settings"])
    dice, metric = build_dice(config), build_metric(config)
    seed_everything(config.seed, workers=True, verbose=False)
    model, data = build(config, arm.lr_factor)
    if checkpoint is not None:
        check_checkpoint(checkpoint, dice, model)
    trainer = build_trainer(config, folder, metric, dice)
    check_batches(data, trainer.num_nodes * trainer.num_devices)
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
    callbacks[:0] = [trained, *_changes(config, trained, checkpoint, list(dice.settings))]
    hear_quietly(trainer)
    control = describe_control(config.control, build_throw(config), arm)
    return _Plan(dice, control, metric, model, data, trainer, checkpoint, trained)


def _changes(
    config: DictConfig, trained: Trained, checkpoint: Checkpoint | None, dice: Sequence[str]
) -> list[Callback]:
    """Refuse what may not differ from the checkpoint; return what lets the rest take effect."""
    asked = list(config.get("changes") or [])
    check_names(asked, trained.settings, dice)
    before = None if checkpoint is None else checkpoint.trained
    if checkpoint is None or before is None:
        return []
    theirs = before["settings"]
    differ = check_settings(trained.settings, theirs, asked)
    trained.note_changes(before, checkpoint.step, differ)
    if not differ and all(trained.settings.get(key) == theirs.get(key) for key in LENGTH):
        return []
    return [NewRates(renews=any(key.startswith("optimizer.") for key in differ))]


def _train_in_processes(job: Job, plan: _Plan) -> Summary:
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
    dice, control, metric, model, data, trainer, checkpoint, trained = plan
    next_step = 0 if checkpoint is None else checkpoint.step
    started, clock = datetime.now(UTC), time.perf_counter()
    baseline = _describe_baseline(plan)
    is_writer = _is_writer()
    reports = is_writer and config.report
    if is_writer:
        write_whole(folder / "config.yaml", OmegaConf.to_yaml(config, resolve=True).encode())
    trainer.loggers = [metrics_file(folder, next_step), *trainer.loggers]
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
    last = LastValidation()
    last.join(callbacks)
    callbacks.insert(0, SameEverywhere(config, next_step))

    metrics: dict[str, float] = {}

    def record(status: str, error: BaseException | None = None) -> Summary:
        summary = {
            "format": FORMAT,
            "status": status,
            "error": None if error is None else _describe_end(error),
            "started": started.isoformat(timespec="seconds"),
            "wall_time": round(time.perf_counter() - clock, 3),
            "task": describe_task(choices, config, metric),
            "steps": trainer.global_step,
            "planned_steps": _planned(trainer),
            "seed": config.seed,
            "settings": trained.settings,
            **({"changes": trained.changes} if trained.changes else {}),
            "control": control,
            **describe_dice(dice.throw, dice.settings, dice.rolls),
            "optimizers": describe_optimizers(trainer.optimizers),
            "metrics": metrics,
            "baseline": baseline,
            "versions": versions(getattr(model, "packages", ())),
        }
        if is_writer:
            write_summary(folder, summary)
        return summary

    record("running")
    try:
        trainer.fit(model, data, ckpt_path=None if checkpoint is None else checkpoint.path)
        metrics.update(_plain_metrics(last.metrics()))
        if last.is_due(trainer):
            trainer.validate(model, data, verbose=False)
            metrics.update(_plain_metrics(last.metrics()))
        if metric.name not in metrics and trainer.limit_val_batches:  # 0: none was wanted
            remedy = f"was never logged; what was: {', '.join(sorted(metrics)) or 'nothing'}"
            raise SettingError("metric.name", metric.name, remedy)
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


def _planned(trainer: Trainer) -> int | None:
    """Return how many steps training is to make; ``None`` where that is not known, or not yet."""
    epochs, batches = trainer.max_epochs, trainer.num_training_batches
    ends = [trainer.max_steps] if trainer.max_steps >= 0 else []
    if epochs is not None and epochs >= 0 and 0 < batches < float("inf"):
        ends.append(epochs * math.ceil(batches / trainer.accumulate_grad_batches))
    return min(ends, default=None)


def _let_go(trainer: Trainer) -> None:
    """End W&B's run, which would otherwise swallow the next job of a sweep."""
    for logger in trainer.loggers:
        if isinstance(logger, WandbLogger) and logger._experiment is not None:
            logger._experiment.finish()


def _describe_end(error: BaseException) -> str:
    signalled = stopped(error)
    return f"{type(error).__name__}: {error}" if signalled is None else signalled.message


def _describe_baseline(plan: _Plan) -> dict[str, Any] | None:
    """What a trivial model reaches, where that is known of the metric."""
    model, data, metric = plan.model, plan.data, plan.metric
    if isinstance(model, TaskModel) and isinstance(data, TaskData) and metric == model.metric:
        return {**data.baseline()._asdict(), "metric": metric.name}
    return None


def _plain_metrics(metrics: Mapping[str, Tensor | float]) -> dict[str, float]:
    return {name: float(value) for name, value in metrics.items() if not name.startswith("dice")}
