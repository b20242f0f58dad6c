"""Small models that learn something on a CPU within a minute or two."""

from lightning_dice.app.models.cnn import ImageClassifier
from lightning_dice.app.models.gpt import LanguageModel
from lightning_dice.app.models.minilm import ReviewClassifier

__all__ = ["ImageClassifier", "LanguageModel", "ReviewClassifier"]
