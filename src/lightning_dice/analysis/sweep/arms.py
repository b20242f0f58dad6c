"""What an arm of a sweep is: which dice or which control, whatever its seed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from lightning_dice.analysis.phrases import figures
from lightning_dice.analysis.run import MOST, Expected, number, section
from lightning_dice.rules import controls

DICE, *_HELD_AGAINST = controls.CONTROLS
"""How a summary names the control of an arm that rolls the dice themselves."""
CONTROLS = tuple(_HELD_AGAINST)
"""What dice are held against, in the order in which the report does."""
NAMES = {
    DICE: "dice",
    "plain": "plain",
    "plain_mean": "the control with the same mean step",
    "plain_rms": "the control with the same root-mean-square step",
    "gaussian": "the Gaussian control",
    "deck": "the deck control",
}
"""Each in words, as a sentence goes on with them."""
THROW = ("die", "threshold", "scaling", "normalize")
PLACE = ("target", "scope", "granularity", "include", "exclude", "ranks")


class Arm(NamedTuple):
    """What runs have in common that only their seed tells apart; empty where it means nothing.

    Attributes:
        control: ``none`` for the dice themselves, or one of ``CONTROLS``.
        die: Notation of the die.
        threshold: What a success must reach.
        scaling: Its name; the user's own factors as JSON.
        normalize: What the scales are divided by.
        target: What is scaled.
        scope: What one roll belongs to in space.
        granularity: What one roll belongs to in time.
        include: Patterns of what is rolled for.
        exclude: Patterns of what is not.
        ranks: Whether all ranks share their rolls.
    """

    control: str
    die: str = ""
    threshold: int | None = None
    scaling: str = ""
    normalize: str = ""
    target: str = ""
    scope: str = ""
    granularity: str = ""
    include: str = ""
    exclude: str = ""
    ranks: str = ""

    def counterpart(self, control: str) -> Arm:
        """The arm of this control that an arm of dice is held against.

        Example:
            >>> dice = Arm(DICE, "d20", 5, "margin", "none", "update", "model")
            >>> dice.counterpart("plain_mean").target, dice.counterpart("deck").target
            ('', 'update')
        """
        if control == "plain":
            return Arm(control)
        if control in controls.WITHOUT_DICE:
            return Arm(control, *(getattr(self, name) for name in THROW))
        return self._replace(control=control)

    @property
    def order(self) -> tuple[Any, ...]:
        """Sorts arms by target, die, scaling and threshold, dice before their controls."""
        rank = (DICE, *CONTROLS).index(self.control)
        return (
            self.target,
            (_sides(self.die), len(self.die), self.die),
            (self.scaling, self.normalize),
            self.threshold or 0,
            self[PLACE_STARTS:],
            rank,
        )

    @property
    def family(self) -> Arm:
        """The arm without its threshold."""
        return self._replace(threshold=None)


PLACE_STARTS = Arm._fields.index("scope")
_DIGITS = 18
"""Digits of a die that are read, to sort by it: as many as a number of 64 bits has."""


class UnreadableError(ValueError):
    """A summary does not say which arm the run is of."""


def read_arm(summary: Mapping[str, Any]) -> Arm:
    """The arm of a run.

    Args:
        summary: A ``summary.json``; one from before there were controls has none.

    Raises:
        UnreadableError: If it does not say.
    """
    control = section(summary, "control")
    name = str(control.get("name", DICE))
    if name not in (DICE, *CONTROLS):
        raise UnreadableError(f"there is no control {name!r} here")
    if name == "plain":
        return Arm(name)
    dice = section(summary, "dice")
    throw = section(control, "of") or (dice if name == DICE else {})
    threshold = number(throw.get("threshold"))
    whole = threshold is not None and abs(threshold) <= MOST and threshold == int(threshold)
    if "die" not in throw or threshold is None or not whole:
        raise UnreadableError("no saving throw is on record")
    rolled = name not in controls.WITHOUT_DICE
    return Arm(
        name,
        str(throw["die"]),
        int(threshold),
        _word(throw.get("scaling")),
        _word(throw.get("normalize", "none")),
        *(_patterns(dice.get(part)) for part in PLACE if rolled),
    )


def read_odds(summary: Mapping[str, Any]) -> tuple[float | None, float | None]:
    """E[s] and efficiency of the saving throw that a run's arm has."""
    expected = _expected(summary)
    return (None, None) if expected is None else (expected.mean, expected.efficiency)


def read_shares(summary: Mapping[str, Any]) -> tuple[float | None, float | None]:
    """The shares of rolls that invert and that discard, by the same odds."""
    expected = _expected(summary)
    return (None, None) if expected is None else (expected.inverse, expected.discard)


def scaling_labels(scalings: Iterable[str]) -> dict[str, str]:
    """A short name for each scaling; the user's own factors have none.

    Example:
        >>> scaling_labels(["margin", "[-1, 1]", "[0, 1]"])
        {'[-1, 1]': 'own table 1', '[0, 1]': 'own table 2', 'margin': 'margin'}
    """
    given = sorted(set(scalings))
    tables = [scaling for scaling in given if scaling.startswith("[")]
    labels = {scaling: scaling for scaling in given}
    for place, table in enumerate(tables, start=1):
        labels[table] = "own table" if len(tables) == 1 else f"own table {place}"
    return labels


def factors(table: str) -> str:
    """The factors of a user's own table, as a reader wants them.

    Example:
        >>> factors("[null, 0.5, 1.0]")
        'discard, 0.500, 1.00'
    """
    try:
        given = json.loads(table)
    except (ValueError, RecursionError):
        given = None
    if not isinstance(given, list):
        return table
    return ", ".join(
        "discard" if factor is None else figures(factor) if number(factor) is not None else "?"
        for factor in given
    )


def _expected(summary: Mapping[str, Any]) -> Expected | None:
    control = section(summary, "control")
    odds = section(control, "odds")
    if not odds and control.get("name", DICE) == DICE:
        odds = section(summary, "odds")
    return Expected.read(odds)


def _word(value: object) -> str:
    if isinstance(value, list | tuple):
        return json.dumps(
            [factor if number(factor) is None else number(factor) for factor in value]
        )
    return "" if value is None else str(value)


def _patterns(value: object) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)


def _sides(die: str) -> int:
    digits = die.partition("d")[2]
    sides = digits[: len(digits) - len(digits.lstrip("0123456789"))]
    return int(sides[:_DIGITS]) if sides else 0
