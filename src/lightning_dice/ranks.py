"""What the ranks of one training must have in common, compared once before it begins.

Ranks that roll apart, or train with other settings, go on without an error and end with replicas
that are none. A launcher that starts the command line anew for each rank does that to a sweep:
every rank then asks the sweeper for settings of its own.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import torch.distributed as dist
from torch import Tensor
from torch.optim import Optimizer

from lightning_dice.rules import SettingError

if TYPE_CHECKING:
    from lightning.pytorch import Trainer

T = TypeVar("T")
_ABSENT = "(none)"
_OF_THE_TRAINER = (
    "max_steps",
    "max_epochs",
    "accumulate_grad_batches",
    "gradient_clip_val",
    "gradient_clip_algorithm",
    "precision",
    "limit_train_batches",
    "limit_val_batches",
    "val_check_interval",
    "check_val_every_n_epoch",
)


def gather(mine: T, processes: int) -> list[T]:
    """What every rank has, by rank; one message, and none if one process trains.

    A process group may be there for something else, or be left from a training before this one.
    """
    if processes == 1 or not (dist.is_available() and dist.is_initialized()):
        return [mine]
    ranks: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(ranks, mine)
    return ranks


def check_same(ranks: Sequence[Mapping[str, Any]]) -> None:
    """Refuse ranks that differ.

    Args:
        ranks: What each rank has, by the name of a setting. All ranks call this with the same, so
            that all of them raise.

    Raises:
        SettingError: Naming every setting that differs and what the ranks have.

    Example:
        >>> check_same([{"threshold": 5, "lr": 0.1}, {"threshold": 10, "lr": 0.1}])
        Traceback (most recent call last):
        lightning_dice.rules.errors.SettingError: threshold=[5, 10]: the ranks differ; start all \
of them with the same
    """
    if len(ranks) == 1:
        return
    names = dict.fromkeys(name for rank in ranks for name in rank)
    values = {name: [rank.get(name, _ABSENT) for rank in ranks] for name in names}
    differ = {name: _few(own) for name, own in values.items() if any(v != own[0] for v in own)}
    if differ:
        (first, value), *others = differ.items()
        also = "".join(f", also in {name} {own}" for name, own in others)
        remedy = f"the ranks differ{also}; start all of them with the same"
        raise SettingError(first, value, remedy)


def _few(values: list[Any]) -> Any:
    """All of them, or of many ranks the first and one that differs."""
    if len(values) <= 8:
        return values
    other = next(rank for rank, value in enumerate(values) if value != values[0])
    return {0: values[0], other: values[other]}


def training_settings(trainer: Trainer) -> dict[str, Any]:
    """What decides a training and is known before there are optimizers.

    Of a program that Hydra composed these are its overrides too.
    """
    settings = {f"trainer.{name}": getattr(trainer, name, None) for name in _OF_THE_TRAINER}
    hydra = sys.modules.get("hydra.core.hydra_config")
    if hydra is not None and hydra.HydraConfig.initialized():
        for override in hydra.HydraConfig.get().overrides.task:
            name, _, value = str(override).partition("=")
            settings[name] = value
    return settings


def optimizer_settings(optimizers: Iterable[Optimizer]) -> dict[str, Any]:
    """The numbers that optimizers were made with.

    Example:
        >>> import torch
        >>> weight = torch.nn.Parameter(torch.ones(1))
        >>> optimizer_settings([torch.optim.SGD([weight], lr=0.5)])["SGD.lr"]
        0.5
    """
    settings: dict[str, Any] = {}
    for index, optimizer in enumerate(optimizers):
        for group_index, group in enumerate(optimizer.param_groups):
            name = type(optimizer).__name__ + (f"[{index}]" if index else "")
            name += f".param_groups[{group_index}]" if group_index else ""
            for key, value in group.items():
                plain = value.item() if isinstance(value, Tensor) and value.numel() == 1 else value
                if isinstance(plain, bool | int | float | tuple):
                    settings[f"{name}.{key}"] = plain
    return settings
