"""What a saving throw refuses, as early as it can be known, with the remedy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import torch.distributed as dist
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.strategies import DeepSpeedStrategy

from lightning_dice.rules import SavingThrow, SettingError
from lightning_dice.trainer_state import scaler_of

T = TypeVar("T")


def check_choice(setting: str, value: T, allowed: Sequence[str]) -> T:
    """``value`` if it is one of ``allowed``.

    Example:
        >>> check_choice("scope", "model", ["model"])
        'model'
    """
    if value not in allowed:
        raise SettingError(setting, value, f"expected {' or '.join(allowed)}")
    return value


def check_throw(throw: object) -> SavingThrow:
    """``throw`` if it is a saving throw.

    Example:
        >>> check_throw("d20")
        Traceback (most recent call last):
        lightning_dice.rules.errors.SettingError: throw='d20': expected a SavingThrow, such as \
SavingThrow('d20', threshold=10)
    """
    if not isinstance(throw, SavingThrow):
        example = "expected a SavingThrow, such as SavingThrow('d20', threshold=10)"
        raise SettingError("throw", throw, example)
    return throw


def check_ranks(settings: Mapping[str, Any]) -> None:
    """Refuse ranks that would roll apart, on all of them.

    Raises:
        SettingError: Naming the first setting that differs and what each rank has.
    """
    if not (dist.is_available() and dist.is_initialized()):
        return
    ranks: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(ranks, dict(settings))
    for key in settings:
        values = [rank[key] for rank in ranks]
        if any(value != values[0] for value in values):
            raise SettingError(key, values, "the ranks differ; start all of them with the same")


def check_setup(
    throw: SavingThrow,
    granularities: Sequence[str],
    trainer: Trainer,
    pl_module: LightningModule,
) -> None:
    """Refuse a Trainer or module that ``throw`` cannot do right by.

    Args:
        throw: The callback's own saving throw.
        granularities: Those of all saving throws in the Trainer.
        trainer: The Trainer.
        pl_module: The module to be trained.

    Raises:
        SettingError: On both granularities at once, on a module and a callback that disagree, and
            under DeepSpeed.
    """
    modules = getattr(pl_module, "saving_throw", None)
    brought = isinstance(modules, SavingThrow)
    if len(set(granularities)) > 1 or (brought and "per_accumulation_step" in granularities):
        raise SettingError(
            "granularity",
            "per_mini_batch and per_accumulation_step",
            "both at once would roll twice for one gradient; keep one of the callbacks"
            + (", or build the module with saving_throw=None" if brought else ""),
        )
    if brought and modules != throw:
        raise SettingError(
            "saving_throw",
            str(modules),
            f"the callback rolls {throw}; give both the same, or the module saving_throw=None",
        )
    if isinstance(trainer.strategy, DeepSpeedStrategy):
        raise SettingError(
            "strategy",
            "deepspeed",
            "DeepSpeed steps inside its own backward, out of reach of a roll; use fsdp or ddp",
        )


def check_fit(trainer: Trainer) -> None:
    """Refuse what can only be seen once the optimizers are there.

    Raises:
        SettingError: On a fused optimizer under a gradient scaler, which cannot step without
            gradients, so that nothing could be discarded.
    """
    if scaler_of(trainer) is None:
        return
    if any(getattr(o, "_step_supports_amp_scaling", False) for o in trainer.optimizers):
        raise SettingError(
            "precision",
            trainer.precision,
            "a fused optimizer under fp16 cannot leave an update out; "
            "use precision='bf16-mixed' or fused=False",
        )


def check_resume(mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> None:
    """Refuse to go on from the checkpoint of another saving throw.

    Args:
        mine: The settings of this run.
        theirs: Those in the checkpoint.

    Raises:
        SettingError: Naming every setting that differs. A seed of ``None`` agrees with any.
    """
    differ = [
        key
        for key, value in mine.items()
        if theirs.get(key) != value and not (key == "seed" and value is None)
    ]
    if differ:
        trained = ", ".join(f"{key}={theirs.get(key)!r}" for key in differ)
        raise SettingError(
            differ[0],
            mine[differ[0]],
            f"the checkpoint was trained with {trained}; resume with the same saving throw, "
            "or start without the checkpoint",
        )
