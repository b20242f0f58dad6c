"""How the naturals of a die come up: independently, or dealt from a deck."""

from __future__ import annotations

from math import lcm
from typing import Literal, cast, get_args

from lightning_dice.rules.checking import one_of
from lightning_dice.rules.die import Die
from lightning_dice.rules.errors import SettingError

MOST_CARDS = 100_000
"""Cards that a deck may have."""

Draws = Literal["independent", "deck"]


def check_draws(draws: Draws, die: Die) -> Draws:
    """``draws`` if it is a way in which ``die`` can come up.

    Raises:
        SettingError: If there is no such way, or a deck would have too many cards.
    """
    words = get_args(Draws)
    word: Draws = cast(Draws, one_of("draws", draws, words, f"expected {' or '.join(words)}"))
    if word == "deck" and (cards := cards_of(die)) > MOST_CARDS:
        remedy = f"a deck for {die} has {cards} cards, and {MOST_CARDS} are the most"
        raise SettingError("draws", word, f"{remedy}; use a smaller die")
    return word


def cards_of(die: Die) -> int:
    """The cards of the smallest deck that holds every natural in proportion to its chance.

    Example:
        >>> cards_of(Die(20)), cards_of(Die.parse("2d3kh1"))
        (20, 9)
    """
    return lcm(*(die.chance(natural).denominator for natural in die.faces))
