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
    """Trains two convolutions and one or two linear layers on images ``(1, side, side)``.

    Args:
        channels: Output channels of the first convolution; the second has twice as many.
        side: Of the images, a multiple of 4.
        hidden: Width of a linear layer between the convolutions and the last one; ``None`` for
            none.
        dropout: Share of activations dropped before each linear layer, 0 to below 1.
        warmup: Share of all steps over which the learning rate rises.
        optimizer: Makes the optimizer from parameter groups.
    """

    kind: ClassVar[str] = "images"
    classes: ClassVar[int] = CLASSES

    def __init__(
        self,
        channels: int,
        side: int,
        hidden: int | None,
        dropout: float,
        warmup: float,
        optimizer: OptimizerFactory,
    ) -> None:
        if channels < 1:
            raise SettingError("model.channels", channels, "expected 1 or more")
        if not 0 <= dropout < 1:
            raise SettingError("model.dropout", dropout, "expected a share from 0 to below 1")
        if side < 4 or side % 4:
            raise SettingError("model.side", side, "expected a multiple of 4")
        if hidden is not None and hidden < 1:
            raise SettingError("model.hidden", hidden, "expected 1 or more, or null for none")
        width = 2 * channels * (side // 4) ** 2
        network = nn.Sequential(
            nn.Conv2d(1, channels, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(channels, 2 * channels, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Dropout(dropout),
            *_head(width, hidden, dropout),
        )
        super().__init__(network, optimizer, warmup)
        self.side = side

    @override
    def predict(self, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        images, labels = batch
        return self.network(images), labels


def _head(width: int, hidden: int | None, dropout: float) -> list[nn.Module]:
    if hidden is None:
        return [nn.Linear(width, CLASSES)]
    return [nn.Linear(width, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, CLASSES)]
