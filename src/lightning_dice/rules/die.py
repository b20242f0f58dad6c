"""The die: what is rolled, its notation and the exact chance of every face."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from lightning_dice.rules.checking import as_text, one_of, whole_number
from lightning_dice.rules.errors import SettingError
from lightning_dice.rules.values import copied_by_field

MAX_SIDES = 10_000
"""Odds list every face, so a die has a largest size."""
MAX_COUNT = 100
"""Most dice one throw may roll before it keeps one."""
MAX_MODIFIER = 999_999_999
"""Largest modifier, above or below 0: notation has room for nine digits."""

_NOTATION = re.compile(
    r"(?P<count>[1-9][0-9]{0,2})?d(?P<sides>[0-9]{1,9})"
    r"(?:k(?P<keep>[hl])1?)?(?P<modifier>[+-][0-9]{1,9})?"
)
_ALLOWED = (
    "expected dice notation such as d20, d6+1, d20-2, 2d20kh1 (advantage: the higher of two) "
    "or 2d20kl1 (disadvantage)"
)
_WHOLE = "expected a whole number of at most nine digits"
_KEEP = "expected 'highest', 'lowest' or None"


# Without slots, as jsonargparse asks for the ``vars`` of a die that is a default.
@copied_by_field
@dataclass(frozen=True)
class Die:
    """A die, possibly rolled several times with one face kept.

    Args:
        sides: Number of faces, 2 to 10 000.
        modifier: Added to the natural face to give the total, up to 999 999 999 either way.
        count: How many times the die is rolled; one face is kept.
        keep: Which face is kept when ``count`` is over one: ``"highest"`` is advantage,
            ``"lowest"`` disadvantage. ``None`` for a single die.

    Raises:
        SettingError: If a value is outside what is allowed.

    Example:
        >>> Die.parse("2d20kh1+2")
        Die(sides=20, modifier=2, count=2, keep='highest')
        >>> str(Die.parse("2d20kh1+2"))
        '2d20kh1+2'
        >>> Die(20).advantage().chance(20)
        Fraction(39, 400)
    """

    sides: int
    modifier: int = 0
    count: int = 1
    keep: Literal["highest", "lowest"] | None = None

    def __post_init__(self) -> None:
        put = object.__setattr__
        for name in ("sides", "modifier", "count"):
            value = getattr(self, name)
            put(self, name, whole_number(f"die.{name}", value, _WHOLE, -MAX_MODIFIER, MAX_MODIFIER))
        if self.keep is not None:
            put(self, "keep", one_of("die.keep", self.keep, ("highest", "lowest"), _KEEP))
        if not 2 <= self.sides <= MAX_SIDES:
            raise SettingError("die", str(self), f"a die has 2 to {MAX_SIDES} sides")
        if not 1 <= self.count <= MAX_COUNT:
            raise SettingError("die", str(self), f"1 to {MAX_COUNT} dice can be rolled at once")
        if (self.count > 1) != (self.keep is not None):
            raise SettingError(
                "die",
                str(self),
                "critical outcomes are read off one natural face, so several dice need kh1 or kl1 "
                "and one die needs neither",
            )

    @classmethod
    def parse(cls, notation: str | Die) -> Die:
        """Read dice notation.

        Args:
            notation: ``[count]d<sides>[kh1|kl1][+modifier|-modifier]``, upper or lower case; a
                ``Die`` is returned as it is.

        Raises:
            SettingError: If the text is not dice notation.

        Example:
            >>> Die.parse("d6-1").modifier
            -1
            >>> Die.parse("d1")
            Traceback (most recent call last):
            lightning_dice.rules.errors.SettingError: die='d1': a die has 2 to 10000 sides
        """
        if isinstance(notation, Die):
            return notation
        text = as_text(notation)
        match = None if text is None else _NOTATION.fullmatch(text.strip().lower())
        if match is None:
            raise SettingError("die", notation, _ALLOWED)
        keep: Literal["highest", "lowest"] | None = None
        if match["keep"] is not None:
            keep = "highest" if match["keep"] == "h" else "lowest"
        return cls(
            sides=int(match["sides"]),
            modifier=int(match["modifier"] or 0),
            count=int(match["count"] or 1),
            keep=keep,
        )

    def advantage(self) -> Die:
        """The same die rolled twice, the higher face kept.

        >>> str(Die(20).advantage())
        '2d20kh1'
        """
        return Die(self.sides, self.modifier, 2, "highest")

    def disadvantage(self) -> Die:
        """The same die rolled twice, the lower face kept.

        >>> str(Die(20).disadvantage())
        '2d20kl1'
        """
        return Die(self.sides, self.modifier, 2, "lowest")

    @property
    def faces(self) -> range:
        """The natural faces, 1 to ``sides``."""
        return range(1, self.sides + 1)

    @property
    def max_total(self) -> int:
        """The largest total: the top face plus the modifier."""
        return self.sides + self.modifier

    def chance(self, natural: int) -> Fraction:
        """The exact probability that ``natural`` is the face that counts.

        The highest of n dice is at most k with probability (k / sides)^n; the lowest mirrors it.

        >>> Die(6).chance(3)
        Fraction(1, 6)
        """
        natural = whole_number("natural", natural, f"{self} shows 1 to {self.sides}", 1, self.sides)
        k = self.sides + 1 - natural if self.keep == "lowest" else natural
        return Fraction(k**self.count - (k - 1) ** self.count, self.sides**self.count)

    def __reduce__(self) -> tuple[type[Die], tuple[int, int, int, str | None]]:
        # Plain values only: small, and safe to load with torch's weights_only=True.
        return type(self), (self.sides, self.modifier, self.count, self.keep)

    def __str__(self) -> str:
        count = str(self.count) if self.count != 1 else ""
        keep = {"highest": "kh1", "lowest": "kl1"}.get(self.keep or "", "")
        modifier = f"{self.modifier:+d}" if self.modifier else ""
        return f"{count}d{self.sides}{keep}{modifier}"
