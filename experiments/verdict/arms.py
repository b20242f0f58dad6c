"""The arms of the study: what is done to the steps of a base optimizer."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache
from itertools import product
from typing import Literal, get_args

from lightning_dice.rules import SavingThrow, control_arm
from lightning_dice.rules.draws import Draws

Target = Literal["gradient", "update"]
Scope = Literal["model", "tensor"]
Include = Literal["all", "hidden"]

THRESHOLDS = (5, 10, 15)
SHARES = (0.25, 0.5, 0.75)
"""Of the steps, for plain training that is shorter."""


@dataclass(frozen=True)
class Arm:
    """One way to train.

    Attributes:
        name: Says it all; ``named`` finds the arm by it.
        throw: What is rolled; ``None`` for no dice.
        target: What is scaled.
        scope: What one roll belongs to.
        include: Whether all tensors are rolled for or only hidden weight matrices and convolutions;
            the others then have scale 1.
        draws: How naturals come up.
        magma: Whether a scale is multiplied by Magma's factor.
        dropout: Share of activations dropped.
        weight_decay: ``None`` for the base optimizer's own.
        length: What the number of steps is multiplied by.
        lr_factor: What the learning rate is multiplied by.
    """

    name: str
    throw: SavingThrow | None = None
    target: Target = "update"
    scope: Scope = "model"
    include: Include = "all"
    draws: Draws = "independent"
    magma: bool = False
    dropout: float = 0.0
    weight_decay: float | None = None
    length: float = 1.0
    lr_factor: float = 1.0

    def steps(self, full: int) -> int:
        """The number of steps where plain training has ``full``."""
        return round(self.length * full)


PLAIN = Arm("plain")


@cache
def dice_arms() -> tuple[Arm, ...]:
    """Every threshold, scaling, scope, target and choice of tensors: 48 arms.

    All are divided by their mean scale, so that a learning rate means the same to each of them and
    to plain training: that of the mean step. Tensors that are not rolled for keep theirs.
    """
    choices = product(
        THRESHOLDS,
        ("margin", "skip"),
        ("model", "tensor"),
        ("gradient", "update"),
        ("all", "hidden"),
    )
    return tuple(
        Arm(
            f"t{threshold}-{scaling}-{scope}-{target}-{include}",
            SavingThrow("d20", threshold, scaling, "mean"),
            target=target,
            scope=scope,
            include=include,
        )
        for threshold, scaling, scope, target, include in choices
    )


@cache
def as_they_stand() -> tuple[Arm, ...]:
    """Dice as somebody adds them to a training: not divided by anything."""
    return tuple(
        Arm(f"raw:t{threshold}-margin-model-{target}-all", SavingThrow("d20", threshold), target)
        for threshold in THRESHOLDS
        for target in get_args(Target)
    )


@cache
def neighbours() -> tuple[Arm, ...]:
    """What was published with the same idea: SkipUpdate and Magma (arXiv 2602.15322)."""
    skip = Arm("skipupdate", SavingThrow("d2", 1, [None, 2]), scope="tensor", include="hidden")
    coin = SavingThrow("d2", 1, [None, 1])
    return skip, replace(skip, name="magma", throw=coin, magma=True)


@cache
def regularisers() -> tuple[Arm, ...]:
    """What people use against overfitting: dropout, and weight decay (for AdamW)."""
    dropouts = [replace(PLAIN, name=f"dropout-{p}", dropout=p) for p in (0.1, 0.2, 0.3)]
    decays = [replace(PLAIN, name=f"decay-{d}", weight_decay=d) for d in (0.0, 0.1, 0.3, 1.0)]
    return *dropouts, *decays


@cache
def shorter() -> tuple[Arm, ...]:
    """Plain training with fewer steps, its schedule as much shorter."""
    return tuple(replace(PLAIN, name=f"plain-{share}", length=share) for share in SHARES)


def controls_of(arm: Arm) -> list[Arm]:
    """What an arm with dice is held against, at the same learning rate.

    A Gaussian factor of the same moments (``gaussian:``), a deck of the same faces (``deck:``), and
    no dice at the root-mean-square step (``rms:``). At the mean step that is plain training itself.
    """
    assert arm.throw is not None
    gaussian = control_arm("gaussian", arm.throw).throw
    rms = control_arm("plain_rms", arm.throw).lr_factor
    return [
        replace(arm, name=f"gaussian:{arm.name}", throw=gaussian),
        replace(arm, name=f"deck:{arm.name}", draws="deck"),
        replace(PLAIN, name=f"rms:{arm.name}", lr_factor=rms),
    ]


def together(arm: Arm, regulariser: Arm) -> Arm:
    """Dice and dropout at once."""
    return replace(arm, name=f"{arm.name}+{regulariser.name}", dropout=regulariser.dropout)


def all_arms() -> Iterable[Arm]:
    """Every arm that has a name."""
    dice = dice_arms()
    dropouts = [arm for arm in regularisers() if arm.dropout]
    yield from (PLAIN, *dice, *as_they_stand(), *neighbours(), *regularisers(), *shorter())
    for arm in dice:
        yield from controls_of(arm)
        yield from (together(arm, dropout) for dropout in dropouts)


@cache
def _by_name() -> dict[str, Arm]:
    return {arm.name: arm for arm in all_arms()}


def named(name: str) -> Arm:
    """The arm of that name.

    Raises:
        ValueError: If there is none.

    Example:
        >>> named("deck:t10-skip-tensor-update-hidden").draws
        'deck'
    """
    arm = _by_name().get(name)
    if arm is None:
        raise ValueError(f"no arm is called {name!r}")
    return arm
