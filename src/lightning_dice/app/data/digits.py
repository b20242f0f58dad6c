"""scikit-learn's bundled images of handwritten digits."""

from __future__ import annotations

from typing import ClassVar, cast

import torch
from torch import Tensor
from torch.utils.data import Dataset, TensorDataset
from typing_extensions import override

from lightning_dice.app.data.base import Baseline, Batch, TaskData, random_split
from lightning_dice.app.data.noise import with_wrong_labels
from lightning_dice.extras import install_command
from lightning_dice.rules import SettingError


class Digits(TaskData):
    """1797 grey images of shape ``(1, 8, 8)``, values 0 to 1, and their digits.

    Args:
        batch_size: Images in a mini-batch.
        val_fraction: Share of the images held out, the same ones on every run.
        label_noise: Share of the other images whose digit is replaced by another one, 0 to 1.

    Raises:
        SettingError: If scikit-learn is not installed.
    """

    kind: ClassVar[str] = "images"
    side: ClassVar[int] = 8

    @override
    def split(self) -> tuple[Dataset[Batch], Dataset[Batch]]:
        images, labels, train, val = self._load()
        noisy = with_wrong_labels(labels[train], self.label_noise)
        return _pairs(images[train], noisy), _pairs(images[val], labels[val])

    @override
    def baseline(self) -> Baseline:
        """Accuracy of always guessing the digit that is commonest in the training set."""
        _images, labels, train, val = self._load()
        commonest = labels[train].bincount().argmax()
        return Baseline("commonest digit", float((labels[val] == commonest).float().mean()))

    def _load(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        try:
            from sklearn.datasets import load_digits
        except ModuleNotFoundError as error:
            remedy = f"needs scikit-learn; {install_command('digits')}"
            raise SettingError("data", "digits", remedy) from error
        bunch = load_digits()
        images = torch.tensor(bunch.images, dtype=torch.float32).unsqueeze(1) / 16
        labels = torch.tensor(bunch.target, dtype=torch.long)
        return images, labels, *random_split(len(labels), self.val_fraction)


def _pairs(images: Tensor, labels: Tensor) -> Dataset[Batch]:
    return cast(Dataset[Batch], TensorDataset(images, labels))  # typed no closer in torch
