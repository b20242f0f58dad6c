"""Checks before an optimizer gets dice: its settings, its other dice, and all processes."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch.distributed as dist
from torch.optim import Optimizer

from lightning_dice.adapters.owners import dice_of
from lightning_dice.choices import Choices
from lightning_dice.ranks import check_same, gather, optimizer_settings
from lightning_dice.roll_call import check_present
from lightning_dice.rules import SettingError
from lightning_dice.rules.checking import whole_number
from lightning_dice.scope import NameSource

if TYPE_CHECKING:
    from lightning_dice.adapters.handle import DiceHandle

MOST_SAVING_THROWS = 1000
"""That one training may have; their numbers are a part of the stream of rolls."""
_AGAIN = (
    "the optimizer has these dice already; remove() them first, with "
    "lightning_dice.adapters.torch_loop.detach(optimizer) where the handle is lost, or take "
    "another ordinal"
)


def check_ordinal(ordinal: object) -> int:
    """Return which of several saving throws this is.

    Raises:
        SettingError: If it is not a whole number from 0 to ``MOST_SAVING_THROWS`` - 1.
    """
    allowed = f"expected a whole number from 0 to {MOST_SAVING_THROWS - 1}"
    return whole_number("ordinal", ordinal, allowed, 0, MOST_SAVING_THROWS - 1)


def check(
    optimizers: Sequence[Optimizer], choices: Choices, ordinal: int, source: NameSource
) -> list[DiceHandle]:
    """Refuse what cannot be rolled for.

    Args:
        optimizers: Those of the training.
        choices: What was chosen.
        ordinal: Which of several saving throws this is.
        source: Gives the names of parameters.

    Returns:
        Dice of trainings that are over, on the same optimizers, whose place these take.

    Raises:
        SettingError: If dice are in the way, or if a setting does not go with these optimizers.
    """
    if len(optimizers) > 1 and choices.granularity == "per_mini_batch":
        raise SettingError(
            "granularity",
            "per_mini_batch",
            "of several optimizers it is not known whose mini-batch a loss is; attach to each "
            "of them, with ordinal=0, 1, ...",
        )
    earlier: list[DiceHandle] = []
    for index, optimizer in enumerate(optimizers):
        there = dice_of(optimizer)
        same = there.pop(ordinal, None)
        if (same is not None and not same.over) or any(
            optimizer is one for one in optimizers[:index]
        ):
            raise SettingError("ordinal", ordinal, _AGAIN)
        if same is not None and same not in earlier:
            earlier.append(same)
        if any(dice.settings["granularity"] != choices.granularity for dice in there.values()):
            twice = "the optimizer has dice of the other kind; both would roll for one gradient"
            raise SettingError("granularity", choices.granularity, f"{twice}; keep one")
    given = next((s for s in ("include", "exclude") if getattr(choices, s)), None)
    groups = (group for optimizer in optimizers for group in optimizer.param_groups)
    names = source()
    if given and not any(p in names for group in groups for p in group["params"]):
        raise SettingError(
            given,
            getattr(choices, given),
            "the optimizer's parameters have no names; give model= as it is trained, or make "
            "the optimizer from model.named_parameters()",
        )
    choices.chosen.check(names.values())
    return earlier


def agree(
    optimizers: Sequence[Optimizer],
    choices: Choices,
    changes: Sequence[str],
    ordinal: int,
    processes: int,
) -> int:
    """Refuse processes that differ, and return the seed that all of them share."""
    drawn = int(os.environ.get("PL_GLOBAL_SEED") or secrets.randbits(32))
    mine = {**choices.settings(), "changes": changes, "ordinal": ordinal}
    # A loop may do anything before, and on some ranks longer than on others.
    purpose = f"saving throw {ordinal} of a loop"
    check_present("attach", "dice for this rank's optimizers", purpose, processes, seconds=60)
    ranks = gather((mine, optimizer_settings(optimizers), drawn), processes)
    check_same([own for own, _, _ in ranks])
    check_same([made for _, made, _ in ranks])
    return ranks[0][2] if choices.seed is None else choices.seed


def last_failure() -> int:
    """Identify the error that ended what was typed last, which interactive Python keeps."""
    return id(getattr(sys, "last_traceback", None))


def place() -> tuple[int, int]:
    """Return the rank of this process, and how many there are."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1
