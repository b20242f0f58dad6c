"""What models that tell classes apart share."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the field's name for it
from torchmetrics.functional import accuracy
from typing_extensions import override

from lightning_dice.app.models.base import Metric, TaskModel


class Classifier(TaskModel):
    """Trains by cross-entropy, and is judged by the share of labels that it gets right."""

    metric: ClassVar[Metric] = Metric("val_accuracy", "share right", "max")
    classes: ClassVar[int]
    """How many there are to tell apart."""

    @override
    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        loss = F.cross_entropy(*self.predict(batch))
        self.log("train_loss", loss)
        return loss

    @override
    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        logits, labels = self.predict(batch)
        values = {
            "val_loss": F.cross_entropy(logits, labels),
            "val_accuracy": accuracy(logits, labels, task="multiclass", num_classes=self.classes),
        }
        self.log_dict(values, batch_size=len(labels), sync_dist=True)
