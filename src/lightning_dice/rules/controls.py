"""Controls: what a saving throw is held against, to tell which part of it does what.

A die changes several things at once: the mean of a step, its size, its noise, the noise's shape,
and that one roll knows nothing of the one before. Each control keeps some of these and takes the
others away, so that a difference between the dice and a control has one cause.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import NamedTuple

from lightning_dice.rules.checking import one_of
from lightning_dice.rules.draws import Draws
from lightning_dice.rules.errors import SettingError
from lightning_dice.rules.odds import Odds
from lightning_dice.rules.saving_throw import SavingThrow, check_throw

CONTROLS = ("none", "plain", "plain_mean", "plain_rms", "gaussian", "deck")
"""The controls; ``none`` is the saving throw itself."""
WITHOUT_DICE = ("plain", "plain_mean", "plain_rms")
"""Those that apply every update in full."""
GAUSSIAN_FACES = 200
"""Faces of the die that stands for a Gaussian: it reaches 2.8 standard deviations."""


class Arm(NamedTuple):
    """What one arm of a comparison trains with.

    Attributes:
        throw: What is rolled.
        draws: How its naturals come up.
        lr_factor: What the learning rate is multiplied by.
    """

    throw: SavingThrow
    draws: Draws = "independent"
    lr_factor: float = 1.0


def control_arm(control: str, throw: SavingThrow) -> Arm:
    """The arm that ``control`` makes of a saving throw.

    Args:
        control: ``"none"`` (the saving throw as it is), ``"plain"`` (no dice: every update in
            full), ``"plain_mean"`` (no dice, the learning rate times E[s]: the same mean step),
            ``"plain_rms"`` (no dice, the learning rate times sqrt(E[s^2]): the same
            root-mean-square step), ``"gaussian"`` (a Gaussian factor with the same E[s] and
            E[s^2]: another shape) or ``"deck"`` (the same faces, dealt from a shuffled deck:
            no independence).
        throw: The saving throw that is held against it.

    Raises:
        SettingError: If there is no such control, or none for this saving throw: a learning rate
            times a mean that is not above 0 would climb, or stand still.

    Example:
        >>> throw = SavingThrow("d20", threshold=10)
        >>> control_arm("plain_mean", throw).lr_factor
        0.3225
        >>> gaussian = control_arm("gaussian", throw).throw
        >>> f"{float(gaussian.odds().mean):.6f} {float(gaussian.odds().mean_square):.6f}"
        '0.322500 0.348625'
        >>> control_arm("deck", throw).draws
        'deck'
    """
    control = one_of("control", control, CONTROLS, f"expected {', '.join(CONTROLS)}")
    throw = check_throw(throw)
    if control == "none":
        return Arm(throw)
    if control == "deck":
        return Arm(throw, draws="deck")
    if control == "gaussian":
        return Arm(_gaussian(throw.odds()))
    return Arm(_FULL, lr_factor=1.0 if control == "plain" else _lr_factor(control, throw))


_FULL = SavingThrow("d2", threshold=1, scaling=[1, 1])
"""Scale 1 whatever is rolled, which is training without dice, bit for bit."""


def _lr_factor(control: str, throw: SavingThrow) -> float:
    odds = throw.odds()
    factor = float(odds.mean) if control == "plain_mean" else math.sqrt(odds.mean_square)
    if factor <= 0:
        name = "expected scale" if control == "plain_mean" else "root-mean-square scale"
        remedy = f"{throw} has {name} {factor:.3g}, and a learning rate times that is none; "
        raise SettingError("control", control, f"{remedy}leave this control out for it")
    return factor


def _gaussian(odds: Odds) -> SavingThrow:
    """A die whose faces are the quantiles of a Gaussian with the mean and mean square of ``odds``.

    Quantiles are cut off where the outermost faces stand, so they are spread until their own
    variance is the one that is wanted.
    """
    ranks = [(face - 0.5) / GAUSSIAN_FACES for face in range(1, GAUSSIAN_FACES + 1)]
    quantiles = [NormalDist().inv_cdf(rank) for rank in ranks]
    spread = math.sqrt(sum(q * q for q in quantiles) / GAUSSIAN_FACES)
    deviation = math.sqrt(odds.mean_square - odds.mean**2)
    factors = [float(odds.mean) + deviation * q / spread for q in quantiles]
    forward = sum(factor > 0 for factor in factors)
    threshold = min(GAUSSIAN_FACES, 1 + GAUSSIAN_FACES - forward)  # a success goes forwards
    return SavingThrow(f"d{GAUSSIAN_FACES}", threshold, factors)
