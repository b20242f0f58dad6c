"""Data that needs no download."""

from lightning_dice.app.data.digits import Digits
from lightning_dice.app.data.python_docs import PythonDocs

__all__ = ["Digits", "PythonDocs"]
