"""Names for arms and contexts: only what tells them apart within this sweep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lightning_dice.analysis.phrases import figures
from lightning_dice.analysis.sweep.arms import DICE, NAMES, PLACE, Arm
from lightning_dice.analysis.sweep.gather import Context, Sweep

_SPELLED = {
    "sgd": "SGD",
    "pure_sgd": "SGD, no momentum",
    "adam": "Adam",
    "adamw": "AdamW",
    "rmsprop": "RMSprop",
    "adafactor": "Adafactor",
    "muon": "Muon",
}
_SAID = {
    "target": "target {}",
    "scope": "scope {}",
    "normalize": "normalized by {}",
    "include": "only {}",
    "exclude": "without {}",
    "ranks": "ranks {}",
}
"""How a field is named; the others speak for themselves."""


@dataclass(frozen=True)
class Labels:
    """The names of one sweep.

    Attributes:
        contexts: A name for each context; empty where there is only one.
        fields: The fields of an arm that differ between the arms of dice, the threshold apart.
        swept: Whether the thresholds differ.
        scalings: The label of each scaling.
    """

    contexts: tuple[str, ...]
    fields: tuple[str, ...]
    swept: bool
    scalings: Mapping[str, str]

    @classmethod
    def of(cls, sweep: Sweep) -> Labels:
        """The names of a sweep."""
        dice = [arm for arm in sweep.arms if arm.control == DICE]
        fields = ("target", "die", "scaling", "normalize", *PLACE[1:])
        varying = tuple(name for name in fields if len({getattr(arm, name) for arm in dice}) > 1)
        swept = len({arm.threshold for arm in dice}) > 1
        return cls(_context_names(sweep.contexts), varying, swept, sweep.scalings)

    def family(self, arm: Arm) -> str:
        """An arm's name without its control and threshold; empty where all share it."""
        return ", ".join(filter(None, (self._said(arm, name) for name in self.fields)))

    def throw(self, arm: Arm) -> str:
        """The part of ``family`` that is not the target's."""
        named = (name for name in self.fields if name != "target")
        return ", ".join(filter(None, (self._said(arm, name) for name in named)))

    def arm(self, arm: Arm) -> str:
        """A full name, short: the control, the family and the threshold."""
        return ", ".join(
            filter(None, (short_name(arm.control), self.family(arm), self.threshold(arm)))
        )

    def threshold(self, arm: Arm) -> str:
        """An arm's threshold in words, where it tells arms apart."""
        return f"threshold {arm.threshold}" if self.swept and arm.threshold is not None else ""

    def together(self, context: int, family: str) -> str:
        """A context's name and another one."""
        return ", ".join(filter(None, (self.contexts[context], family)))

    def _said(self, arm: Arm, name: str) -> str:
        value = str(getattr(arm, name) or "")
        if name == "scaling":
            value = self.scalings[arm.scaling]
        if name == "normalize" and value == "none":
            return ""
        return _SAID.get(name, "{}").format(value.replace("_", " ")) if value else ""


def short_name(control: str) -> str:
    """A control's name for a legend or a cell.

    Example:
        >>> short_name("plain_mean"), short_name("deck")
        ('same mean step', 'deck')
    """
    return (
        NAMES[control]
        .removeprefix("the control with the ")
        .removeprefix("the ")
        .removesuffix(" control")
    )


def cell(value: Any) -> str:
    """A setting's value as a reader wants it.

    Example:
        >>> cell(0.1), cell(300.0), cell(None), cell("sgd")
        ('0.1', '300', '', 'SGD')
    """
    if isinstance(value, float):
        return f"{value:g}" if abs(value) < 1e6 else figures(value)
    return "" if value is None else _SPELLED.get(str(value), str(value))


def _context_names(contexts: Sequence[Context]) -> tuple[str, ...]:
    """Each context's values, as far as they are needed to tell it from the others."""
    names: list[list[str]] = [[] for _ in contexts]
    rows = [
        {**context.values, "metric": context.measure.spoken, "unit": context.measure.unit}
        for context in contexts
    ]
    for column in rows[0]:
        said = [cell(row[column]) for row in rows]
        if "." in column:
            said = [f"{column.partition('.')[2]} {value or 'not set'}" for value in said]
        longer = [(*name, value) for name, value in zip(names, said, strict=True)]
        if len(set(longer)) > len({tuple(name) for name in names}):
            names = [list(name) for name in longer]
    return tuple(", ".join(filter(None, name)) for name in names)
