"""``lightning-dice odds``: what a saving throw means for training, before anything is trained."""

from __future__ import annotations

import inspect
import json
from fractions import Fraction
from typing import Any, get_args

import click

from lightning_dice.cli.refusals import Refused
from lightning_dice.rules import SCALINGS, SavingThrow, SettingError, advice, meaning
from lightning_dice.rules.saving_throw import Normalize

# A default is written once, in the signature that Python users read.
_DEFAULTS = {
    name: parameter.default for name, parameter in inspect.signature(SavingThrow).parameters.items()
}
_DISCARD = ("none", "null", "discard")


@click.command(
    epilog="""\b
Examples:
  lightning-dice odds --threshold 15
  lightning-dice odds --die 2d20kh1 --scaling skip
  lightning-dice odds --die d4 --threshold 2 --scaling=-1,0.5,none,1
"""
)
@click.option(
    "--die",
    default=_DEFAULTS["die"],
    show_default=True,
    metavar="NOTATION",
    help="What is rolled: d20, d6+1, 2d20kh1 (advantage), 2d20kl1 (disadvantage).",
)
@click.option(
    "--threshold",
    type=int,
    default=_DEFAULTS["threshold"],
    show_default=True,
    help="The total that a success must reach.",
)
@click.option(
    "--scaling",
    default=_DEFAULTS["scaling"],
    show_default=True,
    metavar="NAME|FACTORS",
    help=f"{', '.join(SCALINGS)}; or your own factors, one per natural face, separated by commas "
    "(none: discard).",
)
@click.option(
    "--normalize",
    type=click.Choice(get_args(Normalize)),
    default=_DEFAULTS["normalize"],
    show_default=True,
    help="Divide every scale by the mean or the root-mean-square.",
)
@click.option("--json", "as_json", is_flag=True, help="Exact fractions and floats, for programs.")
def odds(die: str, threshold: int, scaling: str, normalize: Normalize, as_json: bool) -> None:
    """Exact odds of a saving throw, and what they mean for training."""
    try:
        throw = SavingThrow(die, threshold, parse_scaling(scaling), normalize)
        if as_json:
            click.echo(json.dumps(as_data(throw), indent=2, allow_nan=False))
            return
        # Half of the start-up time, and a program that reads JSON does not need it.
        from lightning_dice.cli.pictures import show

        show(throw)
    except SettingError as error:
        raise Refused(str(error)) from error


def parse_scaling(text: str) -> str | list[float | None]:
    """A scaling's name, or factors separated by commas.

    Raises:
        SettingError: If a factor is not a number.

    Example:
        >>> parse_scaling("margin"), parse_scaling(" -1, 0.5, none, 1")
        ('margin', [-1.0, 0.5, None, 1.0])
    """
    if "," not in text:
        return text.strip()
    return [_factor(face, entry.strip()) for face, entry in enumerate(text.split(","), start=1)]


def _factor(face: int, entry: str) -> float | None:
    if entry.lower() in _DISCARD:
        return None
    try:
        return float(entry)
    except ValueError:
        remedy = "expected a finite number, or none to discard"
        raise SettingError(f"scaling[{face}]", entry, remedy) from None


def as_data(throw: SavingThrow) -> dict[str, Any]:
    """The odds as JSON values; every number once exactly and once as a float.

    Example:
        >>> as_data(SavingThrow("d20", 15))["mean"]
        {'exact': '7/200', 'value': 0.035}
    """
    odds = throw.odds()
    names = ("mean", "mean_square", "efficiency", "discard", "inverse", "forward")
    return {
        "settings": throw.settings(),
        "meaning": meaning(throw),
        "advice": advice(throw),
        **{name: _number(getattr(odds, name)) for name in names},
        "probability": {str(o): _number(p) for o, p in odds.probability.items()},
        "scales": [
            {"scale": None if scale is None else _number(scale), "probability": _number(p)}
            for scale, p in odds.scales.items()
        ],
    }


def _number(fraction: Fraction) -> dict[str, str | float]:
    return {"exact": str(fraction), "value": float(fraction)}
