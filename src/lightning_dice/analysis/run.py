"""One run's folder, read."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np

from lightning_dice.analysis.readers import (
    OUTCOMES,
    Floats,
    Ints,
    Place,
    Rolls,
    Series,
    bounded,
    read_metrics,
    read_roll_table,
    read_slots,
)
from lightning_dice.foreign import SETTINGS, Unreadable, inside, read_bytes, shown
from lightning_dice.plain_data import read_json
from lightning_dice.rules import Outcome, SettingError
from lightning_dice.rules.controls import WITHOUT_DICE

FORMAT = 1
"""The format of ``summary.json`` and ``saving_throw.json`` that is understood here."""
SUMMARY = "summary.json"
"""What the application says of a run."""
CONFIG = "config.yaml"
RECORD = "saving_throw.json"
"""What dice say of somebody else's training, with the same keys as a summary."""
RESPONSES = ("linear", "momentum", "rescales", "unknown")
"""How an optimizer's own step may answer to a scaled gradient."""
_LIKELY = ("val_loss", "val_accuracy", "train_loss", "train_loss_epoch", "train_loss_step")
"""The metrics by which a training is judged that does not name one, the first choice first."""
MOST = 2**53
"""Largest count that is believed: beyond it, a float does not tell one number from the next."""
TWIN = "plain"
"""Folder, within that of a run, of the run with the same seed and without dice."""


@dataclass(frozen=True)
class Expected:
    """The exact odds of a run, as its summary has them: floats.

    Attributes:
        probability: The chance of each outcome.
        mean: E[s], a discard counting as 0.
        mean_square: E[s^2].
        efficiency: E[s]^2 / E[s^2].
        discard: The chance of a discard.
        inverse: The chance of a scale below 0.
        forward: The chance of a scale above 0.
    """

    probability: Mapping[Outcome, float]
    mean: float
    mean_square: float
    efficiency: float
    discard: float
    inverse: float
    forward: float

    @classmethod
    def read(cls, odds: Mapping[str, Any]) -> Expected | None:
        """The ``odds`` of a summary; ``None`` where a number is missing or cannot be one.

        Example:
            >>> Expected.read({"mean": 0.3}) is None
            True
        """
        names = ("mean", "mean_square", "efficiency", "discard", "inverse", "forward")
        numbers = {name: number(odds.get(name)) for name in names}
        chances = {o: number(section(odds, "probability").get(o.value)) for o in OUTCOMES}
        given = [*numbers.values(), *chances.values()]
        if any(value is None or not math.isfinite(value) for value in given):
            return None
        if any(not 0 <= (chance or 0) <= 1 for chance in chances.values()):
            return None
        return cls(
            probability={outcome: chance or 0.0 for outcome, chance in chances.items()},
            **{name: value or 0.0 for name, value in numbers.items()},
        )

    def mean_range(self, rolls: Ints) -> tuple[Floats, Floats]:
        """Where the mean of so many rolls lies in 95 % of runs, by the normal approximation.

        Args:
            rolls: How many rolls, any shape.
        """
        deviation = math.sqrt(max(self.mean_square - self.mean**2, 0.0))
        reach = 1.96 * deviation / np.sqrt(rolls)
        return self.mean - reach, self.mean + reach


@dataclass(frozen=True, eq=False)
class Run:
    """What one run left behind.

    Attributes:
        name: The folder's name.
        summary: ``summary.json``, or else ``saving_throw.json``; empty where there is none.
        rolls: ``rolls.csv``; empty where there is none.
        slots: ``slots.csv``: the names of parameters by optimizer and slot; empty where there is
            none, as with scope ``model``.
        metrics: ``metrics.csv``, a series a column.
        config: The text of ``config.yaml``; ``None`` where there is none.
        omissions: What was missing or could not be read, a sentence each.
        twin: The run of the same seed without dice, where it was trained beside this one.
    """

    name: str
    summary: Mapping[str, Any]
    rolls: Rolls
    slots: Mapping[Place, Sequence[str]]
    metrics: Mapping[str, Series]
    config: str | None
    omissions: tuple[str, ...]
    twin: Run | None = None

    @classmethod
    def load(cls, folder: Path | str) -> Run:
        """Read ``folder``.

        A ``rolls.csv`` alone is enough, and so is a ``summary.json``, or the ``saving_throw.json``
        that dice leave in somebody else's training. Of these two the first counts.

        Raises:
            SettingError: If there is no such folder, or it holds neither.
        """
        folder = Path(folder)
        if not folder.is_dir():
            raise SettingError("run", str(folder), "there is no such folder")
        is_own = (folder / SUMMARY).exists()  # a run of the application, not of somebody's Trainer
        source = RECORD if not is_own and (folder / RECORD).exists() else SUMMARY
        summary, no_summary = read_summary(folder, source)
        if not (folder / source).exists():
            no_summary = [f"{SUMMARY} and {RECORD} are missing"]
        if not summary and not (folder / "rolls.csv").is_file():
            raise SettingError(
                "run",
                str(folder),
                f"this is not a run's folder: {'; '.join(no_summary)}; rolls.csv is missing",
            )
        rolls, no_rolls = read_roll_table(folder / "rolls.csv")
        since = _whole(section(summary, "rolls").get("since"))
        before = len(rolls) - len(rolls.since(since))
        if before:  # their odds were others, and the summary has them no more
            rolls = rolls.since(since)
            no_rolls.append(
                f"{before} rolls from before step {since} are left out, where training went on "
                "with another saving throw"
            )
        slots, no_slots = read_slots(folder / "slots.csv")
        if section(summary, "dice").get("scope") == "model":
            slots, no_slots = {}, []  # one there is of other dice, before a change by name
        elif not slots and not rolls.several:
            no_slots = []
        metrics, no_metrics = read_metrics(folder / "metrics.csv")
        config, no_config = _read_config(folder / CONFIG)
        if config is None and not is_own:
            no_config = []  # Only the application leaves one.
        gaps = _gaps(summary, rolls, source) if summary else []
        return cls(
            name=shown(folder.resolve().name),
            summary=summary,
            rolls=rolls,
            slots=slots,
            metrics=metrics,
            config=config,
            omissions=(*no_summary, *no_rolls, *gaps, *no_slots, *no_metrics, *no_config),
            twin=_load_twin(folder / TWIN, summary),
        )

    def part(self, name: str) -> Mapping[str, Any]:
        """A mapping of the summary such as ``task`` or ``dice``; empty where there is none."""
        return section(self.summary, name)

    @property
    def status(self) -> str:
        """``finished``, ``running``, ``failed``, ``interrupted`` or ``unknown``."""
        return str(self.summary.get("status") or "unknown")

    @property
    def scope(self) -> str:
        """What one roll belongs to in space; empty where a run without settings does not say."""
        return str(self.part("dice").get("scope") or "")

    @property
    def by_rank(self) -> bool:
        """Whether the slots are ranks, each of which rolled for its own mini-batch."""
        return self.part("dice").get("ranks") == "independent"

    @property
    def filtered(self) -> bool:
        """Whether patterns of names leave parameters out."""
        return any(self.part("dice").get(name) for name in ("include", "exclude"))

    @property
    def control(self) -> str:
        """Which control the run is; ``none`` for dice as they are."""
        return str(self.part("control").get("name") or "none")

    @property
    def without_dice(self) -> bool:
        """Whether it is a control that applied every update in full."""
        return self.control in WITHOUT_DICE

    @property
    def optimizers(self) -> tuple[tuple[str, str], ...]:
        """Each kind of optimizer once: its name, and how its step answers to a scaled gradient.

        Empty where the summary does not say.
        """
        given = self.summary.get("optimizers")
        kinds: dict[tuple[str, str], None] = {}
        for entry in given if isinstance(given, list) else []:
            told = entry if isinstance(entry, Mapping) else {}
            answer = told.get("response")
            name = str(told.get("name") or "the optimizer")
            kinds[name, answer if answer in RESPONSES else "unknown"] = None
        return tuple(kinds)

    @property
    def steps(self) -> int | None:
        """How many optimizer steps the summary counts."""
        return count(self.summary.get("steps"))

    @property
    def expected(self) -> Expected | None:
        """The odds, where the summary has them."""
        return Expected.read(self.part("odds"))

    @property
    def counts(self) -> dict[Outcome, int]:
        """Rolls by outcome: of ``rolls.csv``, or of the summary where that file has none."""
        if len(self.rolls):
            return self.rolls.counts()
        given = section(self.part("rolls"), "outcomes")
        return {outcome: _whole(given.get(outcome.value)) for outcome in OUTCOMES}

    @property
    def count(self) -> int:
        """How many rolls ``counts`` has."""
        return sum(self.counts.values())

    @property
    def mean_scale(self) -> float | None:
        """The mean scale of the rolls in ``counts``."""
        if len(self.rolls):
            return self.rolls.mean_scale
        return finite(self.part("rolls").get("mean_scale")) if self.count else None

    @property
    def luck(self) -> float | None:
        """The p-value of the outcome counts, if it belongs to the rolls in ``counts``."""
        luck = finite(self.part("rolls").get("luck"))
        same = _whole(self.part("rolls").get("count")) == self.count
        return luck if same and luck is not None and 0 <= luck <= 1 else None

    @property
    def metric(self) -> str:
        """The metric that the task is judged by, or the likeliest one that was logged."""
        if named := self.part("task").get("metric"):
            return str(named)
        logged = [name for name in self.metrics if not name.startswith("dice")]
        losses = [name for name in logged if "loss" in name]
        known = [name for name in _LIKELY if self.final(name) is not None]
        return next(iter([*known, *losses, *logged]), _LIKELY[0])

    def final(self, metric: str) -> float | None:
        """The metric at the end: of the summary, or else the last one logged; it may be NaN."""
        value = number(self.part("metrics").get(metric))
        return value if value is not None else self.last_logged(metric)

    def last_logged(self, metric: str) -> float | None:
        """The metric's last point in ``metrics.csv``."""
        series = self.metrics.get(metric)
        return None if series is None else float(series.value[-1])

    @property
    def baseline(self) -> tuple[str, float] | None:
        """Name and value of what the task's metric is held against."""
        value = finite(self.part("baseline").get("value"))
        return None if value is None else (str(self.part("baseline").get("name")), value)


def number(value: object) -> float | None:
    """The value as a float if it is a number, NaN included; ``None`` otherwise.

    Example:
        >>> number(3), number("3"), number(True)
        (3.0, None, None)
    """
    if not isinstance(value, Real) or isinstance(value, bool):
        return None
    try:
        given = float(value)
    except OverflowError:  # JSON has whole numbers of any length
        return -math.inf if value < 0 else math.inf
    return bounded(given)


def finite(value: object) -> float | None:
    """The value as a float if it is a finite number; ``None`` otherwise."""
    given = number(value)
    return given if given is not None and math.isfinite(given) else None


def count(value: object) -> int | None:
    """Return the value as a count if it is a whole number that is believed; ``None`` otherwise.

    Example:
        >>> count(3.0), count(0.5), count(1e300)
        (3, None, None)
    """
    given = finite(value)
    whole = given is not None and 0 <= given <= MOST and given == int(given)
    return int(given) if given is not None and whole else None


def section(mapping: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """The mapping under ``name``; an empty one where there is something else or nothing."""
    value = mapping.get(name)
    return value if isinstance(value, Mapping) else {}


def _load_twin(folder: Path, summary: Mapping[str, Any]) -> Run | None:
    """Load the plain run beside a run; ``None`` where it is missing, or differs in more."""
    own = section(summary, "control").get("name")
    if own == "plain" or not (folder / SUMMARY).is_file() or not inside(folder, folder.parent):
        return None
    try:
        other, _ = read_summary(folder)
        if section(other, "control").get("name") != "plain":
            return None
        twin = Run.load(folder)
    except SettingError:
        return None
    alike = [(one.get("seed"), section(one, "task")) for one in (summary, other)]
    return twin if alike[0] == alike[1] else None


def _whole(value: object) -> int:
    return int(min(max(finite(value) or 0, 0), MOST))


def read_summary(folder: Path, name: str = SUMMARY) -> tuple[dict[str, Any], list[str]]:
    """Read ``summary.json``, or another file with its keys.

    Args:
        folder: The run's folder; the file may be missing, cut short or something else.
        name: The file's name.

    Returns:
        The summary, and why there is none.

    Raises:
        SettingError: If the summary has a format that is not known here.
    """
    path = folder / name
    try:
        summary = read_json(path)
    except FileNotFoundError:
        return {}, [f"{path.name} is missing"]
    except Unreadable as error:
        return {}, [f"{path.name} cannot be read ({error})"]
    if not isinstance(summary, dict) or not summary:
        return {}, [f"{path.name} holds no summary"]
    if summary.get("format", FORMAT) != FORMAT:
        raise SettingError(
            "run",
            str(folder),
            f"{path.name} has format {summary['format']!r}, and this version of lightning-dice "
            f"reads format {FORMAT}",
        )
    return summary, []


def _read_config(path: Path) -> tuple[str | None, list[str]]:
    try:
        return read_bytes(path, SETTINGS).decode(), []
    except FileNotFoundError:
        return None, [f"{path.name} is missing"]
    except (Unreadable, UnicodeError) as error:
        return None, [f"{path.name} cannot be read ({error})"]


def _gaps(summary: Mapping[str, Any], rolls: Rolls, source: str) -> list[str]:
    gaps = []
    if Expected.read(section(summary, "odds")) is None:
        gaps.append(f"{source} has no odds")
    counted = _whole(section(summary, "rolls").get("count"))
    # A running training writes both files now and then, never at the same moment.
    if len(rolls) and len(rolls) != counted and summary.get("status") != "running":
        gaps.append(f"rolls.csv holds {len(rolls)} rolls and {source} counts {counted}")
    return gaps
