"""Numbers and nouns as a reader wants them: digits that mean something, plurals that agree."""

from __future__ import annotations

import math
from collections.abc import Sequence

NBSP = "\N{NO-BREAK SPACE}"
MINUS = "\N{MINUS SIGN}"
_SUPERSCRIPTS = str.maketrans(
    "-0123456789",
    "\u207b\u2070\u00b9\u00b2\u00b3" + "".join(chr(code) for code in range(0x2074, 0x207A)),
)


def figures(value: float, digits: int = 3) -> str:
    """A number with so many significant digits.

    Example:
        >>> figures(0.3225), figures(1234.5), figures(100, 2), figures(float("nan"))
        ('0.323', '1234', '100', 'NaN')
    """
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else f"{MINUS if value < 0 else ''}infinity"
    if value == 0:
        return "0"
    mantissa, exponent = f"{abs(value):.{digits - 1}e}".split("e")
    power, sign = int(exponent), MINUS if value < 0 else ""
    if 4 <= power < 6 and digits <= power:
        return f"{sign}{whole(round(abs(value)))}"
    if -4 <= power < 6:
        return f"{sign}{abs(value):.{max(digits - 1 - power, 0)}f}"
    times, raised = f"{NBSP}\N{MULTIPLICATION SIGN}{NBSP}", str(power).translate(_SUPERSCRIPTS)
    return f"{sign}{mantissa}{times}10{raised}"


def percent(share: float) -> str:
    """A share in percent; never 0 or 100 unless it is exactly that.

    Example:
        >>> [percent(s).replace(NBSP, " ") for s in (0, 1 / 3, 0.9999, 1)]
        ['0 %', '33.3 %', 'over 99.9 %', '100 %']
    """
    if share in (0, 1):
        return f"{share:.0%}".replace("%", f"{NBSP}%")
    if share < 0.001:
        return f"under 0.1{NBSP}%"
    if share > 0.999:
        return f"over 99.9{NBSP}%"
    return f"{100 * share:.1f}{NBSP}%"


def whole(n: int) -> str:
    """A whole number, in groups of three from five digits on.

    Example:
        >>> whole(1234), whole(20000).replace(NBSP, " ")
        ('1234', '20 000')
    """
    return f"{n:,}".replace(",", NBSP) if abs(n) >= 10_000 else str(n)


def counted(n: int, noun: str) -> str:
    """A number and its noun.

    Example:
        >>> counted(1, "roll"), counted(0, "roll"), counted(2, "mini-batch")
        ('1 roll', '0 rolls', '2 mini-batches')
    """
    return f"{whole(n)} {noun if n == 1 else plural(noun)}"


def plural(noun: str) -> str:
    """More than one of them.

    Example:
        >>> plural("critical success"), plural("update")
        ('critical successes', 'updates')
    """
    return noun + ("es" if noun.endswith(("s", "ch")) else "s")


def listed(items: Sequence[str]) -> str:
    """Items in one sentence.

    Example:
        >>> listed(["one", "two", "three"])
        'one, two and three'
    """
    return " and ".join(filter(None, [", ".join(items[:-1]), *items[-1:]]))


def short(name: str, length: int = 32) -> str:
    """A name of any length, cut to fit beside a plot.

    Example:
        >>> short("bigram"), len(short("x" * 1000))
        ('bigram', 32)
    """
    return name if len(name) <= length else f"{name[: length - 1]}\N{HORIZONTAL ELLIPSIS}"


def duration(seconds: float) -> str:
    """A time in the two largest units that it has.

    Example:
        >>> duration(71.2), duration(0.42), duration(7322)
        ('1 min 11 s', '0.42 s', '2 h 2 min')
    """
    total = round(seconds)
    if total < 60:
        return f"{figures(seconds, 2)} s"
    if total < 3600:
        return f"{total // 60} min {total % 60} s"
    return f"{total // 3600} h {total % 3600 // 60} min"


def spoken(metric: str) -> str:
    """A metric's name in words.

    Example:
        >>> spoken("val_loss"), spoken("train_accuracy"), spoken("f1")
        ('validation loss', 'training accuracy', 'f1')
    """
    head, _, rest = metric.partition("_")
    long = {"val": "validation", "train": "training"}.get(head, head)
    return f"{long} {rest.replace('_', ' ')}".strip()
