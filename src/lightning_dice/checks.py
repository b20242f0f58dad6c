"""What a saving throw refuses, as early as it can be known, with the remedy."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, TypeVar

import torch.distributed as dist
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.strategies import DeepSpeedStrategy

from lightning_dice.rules import SavingThrow, SettingError

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
    settings: Mapping[str, Any],
    granularities: Sequence[str],
    trainer: Trainer,
    pl_module: LightningModule,
) -> None:
    """Refuse what cannot be done right.

    Args:
        throw: The callback's own saving throw.
        settings: All of the callback's settings.
        granularities: Those of all saving throws in the Trainer.
        trainer: The Trainer.
        pl_module: The module to be trained.

    Raises:
        SettingError: On both granularities at once, on settings that mini-batches cannot have, on
            a module and a callback that disagree, and under DeepSpeed.
    """
    brought = getattr(pl_module, "saving_throw", None)
    if not isinstance(brought, SavingThrow):
        brought = None
    if len(set(granularities)) > 1 or (brought and "per_accumulation_step" in granularities):
        raise SettingError(
            "granularity",
            "per_mini_batch and per_accumulation_step",
            "both at once would roll twice for one gradient; keep one of the callbacks"
            + (", or build the module with saving_throw=None" if brought else ""),
        )
    if brought is not None and brought != throw:
        raise SettingError(
            "saving_throw",
            str(brought),
            f"the callback rolls {throw}; give both the same, or the module saving_throw=None",
        )
    if settings["granularity"] == "per_mini_batch":
        _check_mini_batch(settings)
    if isinstance(trainer.strategy, DeepSpeedStrategy):
        raise SettingError(
            "strategy",
            "deepspeed",
            "DeepSpeed steps inside its own backward, out of reach of a roll; use fsdp or ddp",
        )


def _check_mini_batch(settings: Mapping[str, Any]) -> None:
    whole = {"target": "gradient", "scope": "model", "include": None, "exclude": None}
    for setting, possible in whole.items():
        if settings[setting] != possible:
            raise SettingError(
                setting,
                settings[setting],
                f"a mini-batch's roll scales its loss, so that {setting}={possible!r} is all that "
                "it can have; use granularity='per_accumulation_step'",
            )


def check_strangers(
    mine: Mapping[str, Any],
    states: Mapping[str, Any],
    key: str,
    keys: Collection[str],
    kind: str,
) -> None:
    """Refuse to go on from the checkpoint of another saving throw.

    Lightning finds the states of callbacks by their key, so it would not notice.

    Args:
        mine: The settings of this callback.
        states: The checkpoint's ``callbacks``: states by key.
        key: This callback's key.
        keys: Those of all saving throws in this training.
        kind: What keys of saving throws begin with.

    Raises:
        SettingError: Naming every setting that differs.
    """
    rolled = {name: state for name, state in states.items() if name.startswith(f"{kind}{{")}
    strangers = [state for name, state in rolled.items() if name not in keys]
    if strangers and key not in rolled:
        check_resume(mine, strangers[0]["settings"])


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
