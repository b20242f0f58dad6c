"""A validation after the last step of several processes."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from typing_extensions import override

from lightning_dice.app.checkpoints import ends


class LastValidation(Callback):
    """Lets several processes validate after their last step, while training is still on.

    A strategy may keep the weights in shards, which no validation can read once ``fit`` has ended.
    Stopping early is what makes Lightning validate at once; here there is nothing left to train.
    """

    def __init__(self) -> None:
        self._step: int | None = None

    @override
    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        if trainer.world_size > 1 and trainer.enable_validation and ends(trainer):
            trainer.should_stop = True
            trainer.check_val_every_n_epoch = None  # this epoch counts, whichever it is

    @override
    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._step = trainer.global_step

    def is_due(self, trainer: Trainer) -> bool:
        """Return whether the weights that training ended with are still to be validated."""
        if not trainer.enable_validation:
            return False
        return trainer.world_size == 1 or self._step != trainer.global_step
