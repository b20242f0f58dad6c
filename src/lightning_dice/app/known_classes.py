"""The classes that a run's folder may name: this package's, with what a folder may say to them.

Settings of a folder are plain numbers within limits, so that none of them asks for memory or time
without end. A text is a setting only where it names a file that is read as data.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lightning_dice.app.data import Digits, FashionMNIST, PythonDocs, RottenTomatoes
from lightning_dice.app.models import ImageClassifier, LanguageModel, ReviewClassifier
from lightning_dice.rules import SettingError

TARGET = "_target_"
_EXAMPLES = 10**6
_DATA = {"batch_size": _EXAMPLES, "val_fraction": 1, "label_noise": 1}


@dataclass(frozen=True)
class Known:
    """A class that a folder may name.

    Attributes:
        made: The class.
        most: Its settings, each with the largest number that it takes.
        files: Its settings that name a file of data.
        folders: Its settings that name a folder whose files say how they are read: only whoever
            measures may name one.
        pretrained: Whether a part of it is read from a file, so that its size is known.
    """

    made: type[Any]
    most: Mapping[str, float]
    files: frozenset[str] = field(default=frozenset())
    folders: frozenset[str] = field(default=frozenset())
    pretrained: bool = False

    def check(self, group: str, settings: Mapping[str, Any]) -> None:
        """Refuse settings that are unknown, no plain numbers, or out of bounds.

        Args:
            group: ``model`` or ``data``, for the error.
            settings: What a folder says, without the class.

        Raises:
            SettingError: With the first of them.
        """
        allowed = {*self.most, *self.files, *self.folders}
        for name, value in settings.items():
            if name not in allowed:
                remedy = f"is no setting of {self.made.__name__}"
                raise SettingError(f"{group}.{name}", value, remedy)
            if value is None or (name in self.files and isinstance(value, str)):
                continue
            if name in self.folders:
                package = self.made.__module__.rpartition(".")[0]
                place = f"{package}.{self.made.__name__}"
                remedy = f"is read only if you name its class: --{group}-class {place}"
                raise SettingError(f"{group}.{name}", value, remedy)
            if not isinstance(value, int | float) or isinstance(value, bool):
                raise SettingError(f"{group}.{name}", value, "expected a number")
            if not math.isfinite(value) or abs(value) > self.most.get(name, 0):
                remedy = f"expected at most {self.most.get(name, 0):g} in a run's folder"
                raise SettingError(f"{group}.{name}", value, remedy)


MODELS = (
    Known(
        ImageClassifier,
        {"channels": 4096, "side": 1024, "hidden": 2**16, "dropout": 1, "warmup": 1},
    ),
    Known(
        LanguageModel,
        {"context": 2**16, "layers": 512, "heads": 512, "width": 2**16, "dropout": 1, "warmup": 1},
    ),
    Known(
        ReviewClassifier,
        {"length": 2**16, "dropout": 1, "warmup": 1},
        folders=frozenset({"encoder"}),
        pretrained=True,
    ),
)
DATA = (
    Known(Digits, _DATA),
    Known(PythonDocs, {**_DATA, "context": 2**16, "train_fraction": 1}),
    Known(
        FashionMNIST,
        {"batch_size": _EXAMPLES, "label_noise": 1, "rows": _EXAMPLES},
        files=frozenset({"path"}),
    ),
    Known(
        RottenTomatoes,
        {**_DATA, "rows": _EXAMPLES, "length": 2**16},
        files=frozenset({"path"}),
        folders=frozenset({"tokenizer"}),
    ),
)


def known(group: str, name: str) -> Known | None:
    """Return what a folder may say to the class of this name; ``None`` for a class of others.

    Example:
        >>> known("model", "lightning_dice.app.models.ImageClassifier").made.__name__
        'ImageClassifier'
        >>> known("model", "os.system") is None
        True
    """
    for one in MODELS if group == "model" else DATA:
        package = one.made.__module__.rpartition(".")[0]
        if name in (f"{place}.{one.made.__name__}" for place in (package, one.made.__module__)):
            return one
    return None
