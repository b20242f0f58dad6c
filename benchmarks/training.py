"""A Lightning training that takes turns with others."""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Callable, Sequence

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger
from torch.utils.data import DataLoader

Rows = dict[str, dict[str, float]]
"""What ``ratios`` gives: a row for each way to train."""


class Turn(Callback):
    """Passes on after so many steps; all that a step costs lies between two of their starts."""

    def __init__(self, pass_on: Callable[[], None], steps: int) -> None:
        self.pass_on = pass_on
        self.steps = steps

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if trainer.global_step % self.steps == 0:
            self.pass_on()


def fit(
    model: LightningModule,
    batches: DataLoader,
    pass_on: Callable[[], None],
    callbacks: Sequence[Callback],
    steps: int = 1,
    **settings,
) -> None:
    """Train until there is no turn left; what is recorded goes into a folder of its own.

    Args:
        model: What is trained.
        batches: What it is trained on, over and over.
        pass_on: Called whenever a turn is over.
        callbacks: What this way to train adds.
        steps: Optimizer steps that are a turn.
        **settings: Of the Trainer.
    """
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = Trainer(
            max_steps=10**9,
            max_epochs=-1,
            callbacks=[Turn(pass_on, steps), *callbacks],
            logger=CSVLogger(folder),
            log_every_n_steps=50,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            **settings,
        )
        trainer.fit(model, batches)
