"""What a saving throw asks of a Trainer, in one place: Lightning's least settled names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from lightning.pytorch.utilities.model_helpers import is_overridden
from torch.optim import Optimizer


def batches_done(trainer: Trainer) -> int:
    """Mini-batches completed before the one at hand, over all epochs and resumed runs."""
    return trainer.fit_loop.epoch_loop.batch_progress.total.completed


def index_of(optimizer: Optimizer, trainer: Trainer) -> int:
    """Which of the Trainer's optimizers this is."""
    return next(i for i, known in enumerate(trainer.optimizers) if known is optimizer)


def replica_of(trainer: Trainer) -> tuple[int, int]:
    """Which of the replicas this process computes, and how many there are.

    Replicas train on different data. Ranks that share the tensors of one model are one replica.
    """
    kwargs = getattr(trainer.strategy, "distributed_sampler_kwargs", None) or {}
    return kwargs.get("rank", 0), kwargs.get("num_replicas", 1)


def logs_now(trainer: Trainer) -> bool:
    """Whether what is logged for this mini-batch reaches the loggers."""
    return trainer._logger_connector.should_update_logs


def log_at_batch_end(
    trainer: Trainer, pl_module: LightningModule, values: Mapping[str, float]
) -> None:
    """Log as ``pl_module.log_dict`` does in ``on_train_batch_end``, at a fraction of its cost.

    Lightning looks through all that it knows of a metric each time that one is logged, most of a
    millisecond. Once it knows them, it is enough to hand it the values.
    """
    known = trainer._results
    keys = {name: f"on_train_batch_end.{name}" for name in values}
    if known is None or not known.keys() >= set(keys.values()):
        pl_module.log_dict(dict(values))
        return
    dtype = torch.promote_types(torch.get_default_dtype(), torch.float32)
    for name, value in values.items():
        known.update_metrics(keys[name], torch.tensor(value, dtype=dtype), batch_size=1)


def clips(trainer: Trainer, pl_module: LightningModule) -> bool:
    """Whether the Trainer, or the module in a hook that people use for it, may clip gradients."""
    hooks = ("configure_gradient_clipping", "on_before_optimizer_step")
    own = any(is_overridden(hook, pl_module) for hook in hooks)
    return own or trainer.gradient_clip_val is not None


def log_folder(trainer: Trainer) -> Path | None:
    """Where the first logger keeps this run's files, on the rank that writes; or ``None``.

    A logger whose ``save_dir`` is shared by all of its runs has a folder for each below it, as
    Lightning's checkpoints have.
    """
    if not trainer.loggers or not trainer.is_global_zero:
        return None
    logger = trainer.loggers[0]
    if isinstance(logger, CSVLogger | TensorBoardLogger):
        return Path(logger.log_dir)
    if logger.save_dir is None:
        return None
    version = logger.version if isinstance(logger.version, str) else f"version_{logger.version}"
    return Path(logger.save_dir, str(logger.name), version)


def scaler_of(trainer: Trainer) -> Any:
    """The gradient scaler of fp16 training, or ``None``."""
    return getattr(trainer.precision_plugin, "scaler", None)
