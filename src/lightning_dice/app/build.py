"""From a configuration to objects; whatever cannot be built is one clear error."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from hydra.errors import InstantiationException
from hydra.utils import get_class, instantiate
from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.loggers import Logger
from omegaconf import DictConfig, OmegaConf

from lightning_dice.app.checkpoints import (
    CHECKPOINTS,
    LastCheckpoint,
    RandomState,
    WholeFiles,
    WholeWindows,
)
from lightning_dice.app.data.base import TaskData
from lightning_dice.app.models.base import TaskModel
from lightning_dice.app.processes import started_by
from lightning_dice.app.progress import DiceProgressBar
from lightning_dice.callback import SavingThrowCallback
from lightning_dice.rules import Arm, SavingThrow, SettingError, control_arm
from lightning_dice.rules.controls import WITHOUT_DICE


def build_throw(config: DictConfig) -> SavingThrow:
    """The saving throw that is configured."""
    return SavingThrow(**_plain(config.saving_throw))


def build_arm(config: DictConfig) -> Arm:
    """What ``control`` makes of the saving throw."""
    return control_arm(config.control, build_throw(config))


def build_dice(config: DictConfig) -> SavingThrowCallback:
    """The callback that ``saving_throw``, ``control`` and ``dice`` describe."""
    arm = build_arm(config)
    given = {key: value for key, value in _plain(config.dice).items() if value is not None}
    if config.control in WITHOUT_DICE:  # there is nothing to aim or to divide
        given = {key: given[key] for key in ("granularity", "seed") if key in given}
    return SavingThrowCallback(arm.throw, draws=arm.draws, **given)


def build_task(config: DictConfig, lr_factor: float = 1.0) -> tuple[TaskModel, TaskData]:
    """The model and the data it is trained on.

    Args:
        config: The whole configuration.
        lr_factor: What the learning rate is multiplied by.

    Raises:
        SettingError: If either, or the optimizer, has a setting that it cannot use, or if the model
            takes another kind of data.
    """
    with _refused("model", config.model):
        model_class = get_class(config.model._target_)
    with _refused("data", config.data):
        data_class = get_class(config.data._target_)
    _check_match(model_class, data_class)
    with _refused("data", config.data):
        data: TaskData = instantiate(config.data)
    with _refused("optimizer", config.optimizer):
        given = {key: value for key, value in config.optimizer.items() if value is not None}
        if lr_factor != 1:
            if "lr" not in given:
                remedy = "multiplies the learning rate, and this optimizer is given none"
                raise SettingError("control", config.control, remedy)
            given["lr"] *= lr_factor
        optimizer = instantiate(given, _partial_=True, _convert_="all")
        optimizer([{"params": [torch.nn.Parameter(torch.zeros(1))]}])  # refuses a bad value now
    with _refused("model", config.model):
        model: TaskModel = instantiate(config.model, optimizer=optimizer)
    return model, data


def check_batches(data: TaskData, processes: int = 1) -> None:
    """Refuse data that does not fill one batch to train on in each of several processes."""
    data.setup("fit")
    examples = len(data.train) // processes  # type: ignore[arg-type]
    if examples < data.batch_size:
        each = f" for each of {processes} processes" if processes > 1 else ""
        remedy = f"there are {examples} examples to train on{each}; expected no more than that"
        raise SettingError("data.batch_size", data.batch_size, remedy)


def _check_match(model: type[TaskModel], data: type[TaskData]) -> None:
    if model.kind != data.kind:
        raise SettingError(
            "model",
            model.__name__,
            f"takes {model.kind}, and data={data.__name__} gives {data.kind}; "
            "choose model=gpt with data=python_docs, or model=cnn with data=digits",
        )


def build_trainer(
    config: DictConfig,
    folder: Path,
    model: TaskModel,
    dice: SavingThrowCallback,
) -> Trainer:
    """A Trainer that keeps everything it writes in ``folder``.

    Args:
        config: The whole configuration.
        folder: The output folder.
        model: Says which metric the best checkpoint is chosen by.
        dice: The saving throw.

    Raises:
        SettingError: If Lightning cannot make such a Trainer, or a logger's package is missing.
    """
    callbacks: list[Callback] = [dice]
    if config.progress:
        callbacks.append(DiceProgressBar())
    if config.checkpoints:
        checkpoints, metric = folder / CHECKPOINTS, model.metric
        best = WholeWindows(checkpoints, "best", metric.name, metric.mode)
        # The last after the best, as it holds what is known of that.
        callbacks += [RandomState(), best, LastCheckpoint(checkpoints)]
    loggers = _build_loggers(config.logger, folder)
    given = {key: value for key, value in _plain(config.trainer).items() if value is not None}
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
            with _refused("logger", node):
                loggers.append(instantiate(node, save_dir=str(folder)))
        except SettingError as error:
            if isinstance(error.__cause__, ModuleNotFoundError):
                remedy = f"its package is missing; pip install 'lightning-dice[{name}]'"
                raise SettingError("logger", name, remedy) from error
            raise
    return loggers


@contextmanager
def _refused(setting: str, node: Any) -> Iterator[None]:
    """Turn whatever a constructor raises into an error that names the setting."""
    try:
        yield
    except SettingError:
        raise
    except Exception as error:
        cause = error.__cause__ if isinstance(error, InstantiationException) else error
        if isinstance(cause, SettingError):
            raise cause from error
        value = {key: item for key, item in _plain(node).items() if item is not None}
        raise SettingError(setting, value, " ".join(str(cause or error).split())) from cause


def _plain(node: DictConfig) -> dict[str, Any]:
    plain = OmegaConf.to_container(node, resolve=True)
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}
