"""The saving throw: die, threshold and scaling as one immutable value."""

# Annotations are evaluated here: jsonargparse reads those of __init__ only where they are no text,
# and otherwise those of the fields, which are what is kept and not what may be given.

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypedDict, get_args

from lightning_dice.rules.checking import as_text, one_of, whole_number
from lightning_dice.rules.die import Die
from lightning_dice.rules.errors import SettingError, tried
from lightning_dice.rules.faces import Faces
from lightning_dice.rules.odds import Odds
from lightning_dice.rules.outcome import Roll
from lightning_dice.rules.scaling import Factor, Given, Table, check_scaling
from lightning_dice.rules.values import copied_by_field

Normalize = Literal["none", "mean", "rms"]


class ThrowSettings(TypedDict, total=False):
    """Settings of a saving throw by name, as configurations hold them; all have defaults."""

    die: Die | str
    threshold: int
    scaling: str | Sequence[Given]
    normalize: Normalize


class _WithFaces:
    """Base that keeps the computed faces apart from the settings.

    It is no dataclass and has a slot, so that ``vars`` of a saving throw are its four settings and
    nothing else. Command lines that are built from annotations write those down, and let a class be
    named by ``class_path`` only where not all of its bases are dataclasses.
    """

    __slots__ = ("_faces",)

    _faces: Faces


@copied_by_field
@dataclass(frozen=True, init=False)
class SavingThrow(_WithFaces):
    """Die + threshold + scaling: decides what becomes of an update.

    1. natural 1: critical failure, discard;
    2. natural = sides: critical success, scale 1;
    3. total >= threshold: success, scale total / sides, at most 1;
    4. otherwise: failure, by ``scaling``.

    Critical outcomes are read off the natural face: a modifier cannot abolish them.

    Args:
        die: A ``Die`` or its notation.
        threshold: The total that a success must reach, 1 to the die's largest total.
        scaling: ``"margin"`` (failure: reversed by how far the total falls short),
            ``"proportional"`` (failure: reversed by the total), ``"skip"`` (failure: discard),
            ``"reference"`` (what the public Roll-to-Train code does), or one finite factor per
            natural face, ``None`` for a discard.
        normalize: Divide every scale by ``"mean"``, E[s], or by ``"rms"``, sqrt(E[s^2]) (a discard
            counts as 0), so that the mean or the root-mean-square step is the optimizer's own.

    Raises:
        SettingError: If a value is outside what is allowed; the message names it.

    Example:
        >>> throw = SavingThrow("d20", threshold=10)
        >>> throw.resolve(17)
        Roll(natural=17, total=17, outcome=<Outcome.SUCCESS: 'success'>, scale=0.85)
        >>> throw.resolve(4).scale, throw.resolve(1).discard
        (-0.3, True)
        >>> throw.odds().mean
        Fraction(129, 400)
    """

    die: Die
    threshold: int
    scaling: str | Table
    normalize: Normalize

    def __init__(
        self,
        die: Die | str = "d20",
        threshold: int = 10,
        scaling: str | Sequence[Given] = "margin",
        normalize: Normalize = "none",
    ) -> None:
        # Written out, as what a caller may pass is wider than what is kept.
        put = object.__setattr__
        put(self, "die", Die.parse(die))
        put(self, "threshold", _check_threshold(threshold, self.die))
        put(self, "scaling", check_scaling(scaling, self.die.sides))
        words = get_args(Normalize)
        put(
            self, "normalize", one_of("normalize", normalize, words, f"expected {', '.join(words)}")
        )
        put(self, "_faces", Faces(self.die, self.threshold, self.scaling, self.normalize))
        self._faces.divisor  # noqa: B018 - refuses a mean that cannot be normalised now

    def resolve(self, natural: int) -> Roll:
        """What the face ``natural`` comes to.

        Args:
            natural: 1 to the die's sides.

        Raises:
            SettingError: If the die has no such face.
        """
        sides = self.die.sides
        if type(natural) is not int or not 1 <= natural <= sides:  # asked for every roll
            natural = whole_number("natural", natural, f"{self.die} shows 1 to {sides}", 1, sides)
        return self._faces.rolls[natural - 1]

    def odds(self) -> Odds:
        """The exact distribution of outcomes and scales."""
        return self._faces.odds

    @property
    def factors(self) -> tuple[Factor, ...]:
        """The exact scale of each natural face, the first for a natural 1; ``None`` is a discard.

        Example:
            >>> SavingThrow("d4", threshold=3).factors
            (None, Fraction(-1, 4), Fraction(3, 4), Fraction(1, 1))
        """
        return self._faces.factors

    def settings(self) -> dict[str, Any]:
        """The four settings as plain values, for files and loggers.

        Example:
            >>> SavingThrow("d6", 3).settings()
            {'die': 'd6', 'threshold': 3, 'scaling': 'margin', 'normalize': 'none'}
        """
        scaling = self.scaling if isinstance(self.scaling, str) else list(self.scaling)
        return {
            "die": str(self.die),
            "threshold": self.threshold,
            "scaling": scaling,
            "normalize": self.normalize,
        }

    def __reduce__(self) -> tuple[type["SavingThrow"], tuple[Any, ...]]:
        # Plain values only: small, and safe to load with torch's weights_only=True.
        return type(self), tuple(self.settings().values())

    def __str__(self) -> str:
        scaling = self.scaling if isinstance(self.scaling, str) else "own table"
        normalized = "" if self.normalize == "none" else f", normalized by {self.normalize}"
        return f"{self.die}, threshold {self.threshold}, {scaling}{normalized}"


def _check_threshold(threshold: object, die: Die) -> int:
    top = die.max_total
    if top < 1:
        raise SettingError("die", str(die), f"totals at most {top}, and a threshold is at least 1")
    allowed = f"expected a whole number from 1 to {top}"
    threshold = whole_number("threshold", threshold, allowed)
    if threshold > top:
        raise SettingError(
            "threshold",
            threshold,
            f"unreachable, as {die} totals at most {top}; {allowed}",
        )
    if threshold < 1:
        raise SettingError("threshold", threshold, allowed)
    return threshold


def check_throw(throw: object) -> SavingThrow:
    """Return ``throw`` as a saving throw.

    Args:
        throw: A saving throw, or the settings of one by name, as configurations hold them.

    Raises:
        SettingError: If it is neither, or has a setting that a saving throw does not have.

    Example:
        >>> check_throw({"die": "d6", "threshold": 3}) == SavingThrow("d6", threshold=3)
        True
        >>> check_throw("d20")
        Traceback (most recent call last):
        lightning_dice.rules.errors.SettingError: throw='d20': expected a SavingThrow, such as \
SavingThrow('d20', threshold=10), or its settings by name
    """
    if isinstance(throw, SavingThrow):
        return throw
    given: dict[Any, Any] | None = tried(dict, throw) if isinstance(throw, Mapping) else None
    if given is None:
        example = "expected a SavingThrow, such as SavingThrow('d20', threshold=10)"
        raise SettingError("throw", throw, f"{example}, or its settings by name")
    allowed = f"expected {', '.join(_SETTINGS)}"
    for name, value in given.items():
        if as_text(name) is None:
            raise SettingError("throw", name, f"is no name of a setting; {allowed}")
        if name not in _SETTINGS:
            raise SettingError(f"throw.{name}", value, allowed)
    return SavingThrow(**given)


_SETTINGS = tuple(SavingThrow().settings())
