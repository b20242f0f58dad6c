"""What a saving throw asks of a Trainer, in one place: Lightning's least settled names."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities.model_helpers import is_overridden
from torch.optim import Optimizer


def batches_done(trainer: Trainer) -> int:
    """Mini-batches completed before the one at hand, over all epochs and resumed runs."""
    return trainer.fit_loop.epoch_loop.batch_progress.total.completed


def index_of(optimizer: Optimizer, trainer: Trainer) -> int:
    """Which of the Trainer's optimizers this is."""
    return next(i for i, known in enumerate(trainer.optimizers) if known is optimizer)


def logs_now(trainer: Trainer) -> bool:
    """Whether what is logged for this mini-batch reaches the loggers."""
    return trainer._logger_connector.should_update_logs


def clips_after_hook(trainer: Trainer, pl_module: LightningModule) -> bool:
    """Whether gradients are clipped after ``on_before_optimizer_step``."""
    if not pl_module.automatic_optimization:
        return False  # what clips by hand has clipped before
    own = is_overridden("configure_gradient_clipping", pl_module)
    return own or trainer.gradient_clip_val is not None


def scaler_of(trainer: Trainer) -> Any:
    """The gradient scaler of fp16 training, or ``None``."""
    return getattr(trainer.precision_plugin, "scaler", None)
