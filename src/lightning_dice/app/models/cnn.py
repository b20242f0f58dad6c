"""A small convolutional network for small images."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn
from typing_extensions import override

from lightning_dice.app.models.classifier import Classifier
from lightning_dice.app.optimizers import OptimizerFactory
from lightning_dice.rules import SettingError

CLASSES = 10


class ImageClassifier(Classifier):
    """Trains two convolutions and a linear layer on images of shape ``(1, 8, 8)``.

    Args:
        channels: Output channels of the first convolution; the second has twice as many.
        dropout: Share of activations dropped before the linear layer, 0 to below 1.
        warmup: Share of all steps over which the learning rate rises.
        optimizer: Makes the optimizer from parameter groups.
    """

    kind: ClassVar[str] = "images"
    classes: ClassVar[int] = CLASSES

    def __init__(
        self, channels: int, dropout: float, warmup: float, optimizer: OptimizerFactory
    ) -> None:
        if channels < 1:
            raise SettingError("model.channels", channels, "expected 1 or more")
        if not 0 <= dropout < 1:
            raise SettingError("model.dropout", dropout, "expected a share from 0 to below 1")
        network = nn.Sequential(
            nn.Conv2d(1, channels, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(channels, 2 * channels, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Dropout(dropout),
            nn.Linear(2 * channels * 4, CLASSES),
        )
        super().__init__(network, optimizer, warmup)

    @override
    def predict(self, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        images, labels = batch
        return self.network(images), labels
