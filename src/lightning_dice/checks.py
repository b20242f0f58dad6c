"""What a saving throw refuses, as early as it can be known, with the remedy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from lightning.pytorch import LightningModule, Trainer

from lightning_dice.deepspeed_engine import uses_deepspeed
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
            a module and a callback that disagree, and on rolls for optimizer steps of DeepSpeed.
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
    elif settings["ranks"] == "independent":
        raise SettingError(
            "ranks",
            "independent",
            "a step that every rank scales in its own way leaves replicas that differ; use "
            "granularity='per_mini_batch', which scales losses before they are averaged",
        )
    elif uses_deepspeed(trainer):
        raise SettingError(
            "granularity",
            settings["granularity"],
            "DeepSpeed holds gradients in parts of its own, out of reach of a roll; use "
            "granularity='per_mini_batch', or strategy='fsdp' or 'ddp'",
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
