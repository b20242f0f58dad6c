"""A validation after the last step, and what is known of a run whose last step is made."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from typing_extensions import override

from lightning_dice.app.checkpoints import ends


class LastValidation(Callback):
    """Lets a run validate after its last step, while training is still on.

    A strategy may keep the weights in shards, which no validation can read once ``fit`` has ended.
    And the last checkpoint can follow the validation: it holds what was measured, so that a run
    whose last step is made can be concluded from it without training or measuring anything.
    """

    def __init__(self) -> None:
        self._trainer: Trainer | None = None
        self._validated = False
        self._resumed: dict[str, float] = {}

    def join(self, callbacks: list[Callback]) -> None:
        """Take the place before those that save, and after those that end training."""
        places = [i for i, one in enumerate(callbacks) if isinstance(one, ModelCheckpoint)]
        callbacks.insert(min(places, default=len(callbacks)), self)

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._trainer = trainer

    @override
    def state_dict(self) -> dict[str, Any]:
        return {"validated": self._validated, "metrics": self.metrics()}

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._validated, self._resumed = state_dict["validated"], state_dict["metrics"]

    @override
    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        self._validated = False
        if trainer.enable_validation and ends(trainer):
            trainer.check_val_every_n_epoch = None  # this epoch counts, whichever it is
            trainer.val_check_batch = 1
            setattr(trainer, "_val_check_time_interval", None)  # noqa: B010 - unknown to its types

    @override
    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._validated = True

    def is_due(self, trainer: Trainer) -> bool:
        """Return whether the weights that training ended with are still to be validated.

        They are where a run is to end at an earlier step than it once was.
        """
        return trainer.enable_validation and not self._validated

    def metrics(self) -> dict[str, float]:
        """Return what was measured last, also before the checkpoint that training resumed from."""
        now = {} if self._trainer is None else self._trainer.callback_metrics
        return {**self._resumed, **{name: float(value) for name, value in now.items()}}
