"""From a configuration to a Trainer and its loggers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from hydra.utils import instantiate
from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.loggers import Logger
from omegaconf import DictConfig

from lightning_dice.app.checkpoints import (
    CHECKPOINTS,
    LastCheckpoint,
    RandomState,
    WholeWindows,
)
from lightning_dice.app.models.base import Metric
from lightning_dice.app.processes import started_by
from lightning_dice.app.progress import DiceProgressBar
from lightning_dice.app.refusals import plain, refused
from lightning_dice.app.whole_files import WholeFiles
from lightning_dice.callback import SavingThrowCallback
from lightning_dice.extras import install_command
from lightning_dice.rules import SettingError
from lightning_dice.trajectory import TrajectoryRecorder


def build_trainer(
    config: DictConfig,
    folder: Path,
    metric: Metric,
    dice: SavingThrowCallback,
) -> Trainer:
    """A Trainer that keeps everything it writes in ``folder``.

    Args:
        config: The whole configuration.
        folder: The output folder.
        metric: What the best checkpoint is chosen by.
        dice: The saving throw.

    Raises:
        SettingError: If Lightning cannot make such a Trainer, or a logger's package is missing.
    """
    callbacks: list[Callback] = [dice]
    if config.progress:
        callbacks.append(DiceProgressBar())
    if config.trajectory:
        callbacks.append(_build_recorder(config.trajectory, folder))
    if config.checkpoints:
        checkpoints = folder / CHECKPOINTS
        best = WholeWindows(checkpoints, "best", metric.name, metric.mode)
        # The last after the best, as it holds what is known of that.
        callbacks += [RandomState(), best, LastCheckpoint(checkpoints)]
    loggers = _build_loggers(config.logger, folder)
    given = {key: value for key, value in plain(config.trainer).items() if value is not None}
    given["check_val_every_n_epoch"] = config.trainer.check_val_every_n_epoch  # None is a choice
    for name in ("max_steps", "max_epochs", "accumulate_grad_batches", "val_check_interval"):
        if given.get(name) == 0:
            raise SettingError(f"trainer.{name}", 0, "nothing would happen; expected more")
    try:
        return Trainer(
            **given,
            callbacks=callbacks,
            plugins=[WholeFiles(), *_cluster()],
            logger=loggers or False,
            default_root_dir=folder,
            enable_checkpointing=config.checkpoints,
            enable_model_summary=False,
            enable_progress_bar=config.progress,
        )
    except (ImportError, MisconfigurationException, RuntimeError, TypeError, ValueError) as error:
        choice = ", ".join(f"{key}={value}" for key, value in given.items() if value is not None)
        raise SettingError("trainer", choice, " ".join(str(error).split())) from error


def _build_recorder(most: int, folder: Path) -> TrajectoryRecorder:
    try:
        return TrajectoryRecorder(folder, most)
    except SettingError as error:
        raise SettingError("trajectory", most, f"{error.remedy}, or 0 for none") from error


def _cluster() -> list[ClusterEnvironment]:
    """What Lightning is to make of SLURM: each task a rank, or a job without tasks one machine.

    Without its requeueing, which saves wherever a signal finds the process.
    """
    if isinstance(started_by(), SLURMEnvironment):
        return [SLURMEnvironment(auto_requeue=False)]
    return [LightningEnvironment()] if started_by() is None and SLURMEnvironment.detect() else []


def _build_loggers(config: Mapping[str, DictConfig] | None, folder: Path) -> list[Logger]:
    loggers = []
    for name, node in (config or {}).items():
        try:
            with refused("logger", node):
                loggers.append(instantiate(node, save_dir=str(folder)))
        except SettingError as error:
            if isinstance(error.__cause__, ModuleNotFoundError):
                remedy = f"its package is missing; {install_command(name)}"
                raise SettingError("logger", name, remedy) from error
            raise
    return loggers
