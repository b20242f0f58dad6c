"""Small models that learn something within a minute on a CPU."""

from lightning_dice.app.models.cnn import ImageClassifier
from lightning_dice.app.models.gpt import LanguageModel

__all__ = ["ImageClassifier", "LanguageModel"]
