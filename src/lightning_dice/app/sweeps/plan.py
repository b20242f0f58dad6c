"""Which jobs a sweep has, and what their folders are called."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from hashlib import sha256
from itertools import product
from typing import NamedTuple

from lightning_dice.rules.controls import WITHOUT_DICE

LONGEST = 200
"""Characters of a folder's name; file systems take 255 bytes."""
_AIM = ("target", "scope", "dice.")
_THROW = ("threshold", "die", "scaling", "saving_throw.")
_PLAIN_WORDS = re.compile(r"[^\w.,=+-]")


class Planned(NamedTuple):
    """One job.

    Attributes:
        name: Its folder, below that of the sweep.
        overrides: What Hydra is told.
    """

    name: str
    overrides: tuple[str, ...]


def plan(grid: Mapping[str, Sequence[str]], named: Collection[str]) -> list[Planned]:
    """The jobs of every combination, each job once.

    A control that trains without dice makes no use of the settings of dice, so that combinations
    which differ in nothing else are one job.

    Args:
        grid: The values of each key, in the grammar of Hydra's overrides.
        named: Keys that are in the names of folders, whether they have several values or one.

    Example:
        >>> for job in plan({"control": ["none", "plain"], "threshold": ["5", "10"]}, ["control"]):
        ...     print(job.name, job.overrides)
        control=none,threshold=5 ('control=none', 'threshold=5')
        control=none,threshold=10 ('control=none', 'threshold=10')
        control=plain ('control=plain',)
    """
    shown = [key for key, values in grid.items() if key in named or len(values) > 1]
    labels = _labels(shown)
    jobs: dict[tuple[str, ...], str] = {}
    for values in product(*grid.values()):
        chosen = _used(dict(zip(grid, values, strict=True)))
        overrides = tuple(f"{key}={value}" for key, value in chosen.items())
        parts = (f"{labels[key]}={chosen[key]}" for key in shown if key in chosen)
        jobs.setdefault(overrides, folder_name(parts))
    taken = Counter(jobs.values())
    return [
        Planned(name if taken[name] == 1 else f"{name}-{_digest(overrides)}", overrides)
        for overrides, name in jobs.items()
    ]


def one_of_each(jobs: Iterable[Planned]) -> list[Planned]:
    """Jobs enough that every override is in one of them.

    Example:
        >>> jobs = plan({"seed": ["0", "1"], "lr": ["1", "2", "3"]}, [])
        >>> [job.name for job in one_of_each(jobs)]
        ['seed=0,lr=1', 'seed=0,lr=2', 'seed=0,lr=3', 'seed=1,lr=1']
    """
    seen: set[str] = set()
    chosen = []
    for job in jobs:
        if not seen.issuperset(job.overrides):
            seen.update(job.overrides)
            chosen.append(job)
    return chosen


def folder_name(parts: Iterable[str]) -> str:
    """A name for what differs, that any file system takes.

    Example:
        >>> folder_name(["optimizer=sgd", "include=['a/*']"])
        'optimizer=sgd,include=a__'
        >>> len(folder_name(["x" * 1000]))
        200
    """
    whole = ",".join(parts)
    name = ",".join(_PLAIN_WORDS.sub("_", part.translate(_UNQUOTED)) for part in whole.split(","))
    if len(name) <= LONGEST:
        return name or "run"
    return f"{name[: LONGEST - 13]}-{_digest([whole])}"


def _digest(texts: Iterable[str]) -> str:
    return sha256("\n".join(texts).encode()).hexdigest()[:12]


_UNQUOTED = str.maketrans("", "", "\"'[]")


def _used(chosen: dict[str, str]) -> dict[str, str]:
    control = chosen.get("control", "none")
    if control not in WITHOUT_DICE:
        return chosen
    unused = _AIM + _THROW if control == "plain" else _AIM
    return {key: value for key, value in chosen.items() if not _in(key, unused)}


def _in(key: str, groups: tuple[str, ...]) -> bool:
    return any(key == group or (group[-1] == "." and key.startswith(group)) for group in groups)


def _labels(keys: Sequence[str]) -> dict[str, str]:
    """The last word of each key, or all of it where two share their last word."""
    last = [key.rpartition(".")[2].lstrip("+~") for key in keys]
    return {
        key: word if last.count(word) == 1 else key for key, word in zip(keys, last, strict=True)
    }
