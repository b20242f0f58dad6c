"""Data that needs no download: it comes with Python or with a package."""

from lightning_dice.app.data.digits import Digits
from lightning_dice.app.data.fashion_mnist import FashionMNIST
from lightning_dice.app.data.python_docs import PythonDocs
from lightning_dice.app.data.rotten_tomatoes import RottenTomatoes

__all__ = ["Digits", "FashionMNIST", "PythonDocs", "RottenTomatoes"]
