"""A saving throw in the terminal: the sentence, the table of outcomes, the bars."""

from __future__ import annotations

from collections import defaultdict
from fractions import Fraction
from itertools import count
from math import ceil, floor, log10
from typing import NamedTuple

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lightning_dice.rules import Odds, Outcome, Roll, SavingThrow, advice, meaning
from lightning_dice.rules.words import percent

SINGLE_ROWS = 12
"""Up to so many scales have a row each; more are put in bins."""
MAX_BINS = 20
BAR_WIDTH = 40
"""Most characters a bar has."""

# What scales of a row do to their target: style, bar, bar where the terminal knows only ASCII.
# The bars differ by more than colour.
_LOOKS = {
    "discard": ("yellow", "░", "."),
    "reversed": ("red", "▒", "-"),
    "zero": ("default", "░", "."),
    "forward": ("green", "█", "#"),
}


class Row(NamedTuple):
    """One row of the chart."""

    label: str
    direction: str
    chance: Fraction


def show(throw: SavingThrow) -> None:
    """Print everything there is to say about ``throw`` to standard output."""
    numbers = _numbers(throw.odds())  # first, as it may fail, and half a page is no answer
    console = Console(highlight=False)
    # Whoever reads a file or a pipe wants a sentence on one line.
    unwrapped = not console.is_terminal
    console.print(Text(meaning(throw), style="bold"), soft_wrap=unwrapped)
    caution = advice(throw)
    if caution is not None:
        console.print(Text(f"caution: {caution}", style="bold red"), soft_wrap=unwrapped)
    console.print()
    console.print(_outcomes(throw))
    console.print()
    console.print(Text(numbers), soft_wrap=unwrapped)
    console.print()
    console.print(_chart(chart_rows(throw.odds()), console.width, console.options.ascii_only))


def _outcomes(throw: SavingThrow) -> Table:
    table = Table(title=str(throw), title_justify="left", box=box.SIMPLE_HEAD, show_edge=False)
    table.add_column("outcome", no_wrap=True)
    for header in ("natural", "probability", ""):
        table.add_column(header, justify="right", overflow="fold")
    table.add_column("scale", overflow="fold")
    rolls: dict[Outcome, list[Roll]] = {outcome: [] for outcome in Outcome}
    for natural in throw.die.faces:
        roll = throw.resolve(natural)
        rolls[roll.outcome].append(roll)
    for outcome, chance in throw.odds().probability.items():
        table.add_row(
            str(outcome),
            _faces(rolls[outcome]),
            _exact(chance),
            percent(chance),
            _scales(rolls[outcome]),
        )
    return table


def _faces(rolls: list[Roll]) -> str:
    if not rolls:
        return "none"
    # Totals rise with the face, so the faces of an outcome are neighbours.
    first, last = rolls[0].natural, rolls[-1].natural
    return f"{first}" if first == last else f"{first}-{last}"


def _scales(rolls: list[Roll]) -> str:
    scales = sorted(roll.scale for roll in rolls if roll.scale is not None)
    parts = ["discard"] if len(scales) < len(rolls) else []
    if scales:
        low, high = f"{scales[0]:.3g}", f"{scales[-1]:.3g}"
        parts.append(low if low == high else f"{low} to {high}")
    return " or ".join(parts)


def _exact(fraction: Fraction) -> str:
    text = str(fraction)
    return text if len(text) <= 16 else f"{float(fraction):.6g}"


def _numbers(odds: Odds) -> str:
    return (
        f"E[s] = {_exact(odds.mean)}, E[s^2] = {_exact(odds.mean_square)}, "
        f"efficiency = E[s]^2 / E[s^2] = {float(odds.efficiency):.3g}"
    )


def chart_rows(odds: Odds) -> list[Row]:
    """The chance of every scale, or of every bin of scales where there are many.

    Bins never mix directions: they have 0 as an edge, and 0 itself has its own row.

    Example:
        >>> from lightning_dice.rules import SavingThrow
        >>> for row in chart_rows(SavingThrow("d100", 10, "skip").odds())[:3]:
        ...     print(row.label, row.direction, row.chance)
         discard 9/100
        0.05 to 0.1 forward 1/100
        0.1 to 0.15 forward 1/20
    """
    rows = [Row("", "discard", odds.discard)] if odds.discard else []
    scales = {scale: chance for scale, chance in odds.scales.items() if scale is not None}
    if len(scales) <= SINGLE_ROWS:
        return rows + [Row(f"{float(s):.3g}", _direction(s), p) for s, p in scales.items()]
    width = _bin_width(min(scales), max(scales))
    bins: dict[int, Fraction] = defaultdict(Fraction)
    for scale, chance in scales.items():
        bins[_bin(scale, width)] += chance
    return rows + [
        Row(_bin_label(number, width), _direction(Fraction(number)), bins[number])
        for number in range(min(bins), max(bins) + 1)
        if number or bins[0]
    ]


def _direction(scale: Fraction) -> str:
    return "forward" if scale > 0 else "reversed" if scale < 0 else "zero"


def _bin_width(low: Fraction, high: Fraction) -> Fraction:
    """The smallest of ..., 0.1, 0.2, 0.5, 1, 2, 5, ... with about ``MAX_BINS`` bins at most."""
    start = floor(log10((high - low) / MAX_BINS))
    widths = (Fraction(digit) * Fraction(10) ** k for k in count(start) for digit in (1, 2, 5))
    return next(w for w in widths if _bin(high, w) - _bin(low, w) <= MAX_BINS)


def _bin(scale: Fraction, width: Fraction) -> int:
    """0 for 0; else counted away from 0, the edge further from 0 belonging to the bin."""
    return ceil(scale / width) if scale > 0 else floor(scale / width)


def _bin_label(number: int, width: Fraction) -> str:
    if number == 0:
        return "0"
    low = (number - (number > 0)) * width
    return f"{float(low):g} to {float(low + width):g}"


def _chart(rows: list[Row], width: int, ascii_only: bool) -> Table:
    table = Table(
        title="probability by scale",
        title_justify="left",
        box=None,
        show_header=False,
        pad_edge=False,
    )
    table.add_column(justify="right", no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(no_wrap=True)
    texts = [(row.label, row.direction, percent(row.chance)) for row in rows]
    used = sum(max(len(text[i]) + 2 for text in texts) for i in range(3))
    room = max(min(BAR_WIDTH, width - used), 1)
    largest = max(row.chance for row in rows)
    for row, text in zip(rows, texts, strict=True):
        style, block, letter = _LOOKS[row.direction]
        # What can happen has a bar, however short.
        length = max(round(room * row.chance / largest), 1) if row.chance else 0
        bar = Text((letter if ascii_only else block) * length, style=style)
        table.add_row(*text, bar)
    return table
