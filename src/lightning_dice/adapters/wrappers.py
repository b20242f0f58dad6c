"""Optimizers and models that others have wrapped: what is inside, told without importing them."""

from __future__ import annotations

from typing import Any, NamedTuple

from torch import nn
from torch.nn.parallel import DataParallel, DistributedDataParallel
from torch.optim import Optimizer

from lightning_dice.rules import SettingError

_FABRIC = ("lightning.fabric.wrappers", "lightning_fabric.wrappers")
_ACCELERATE = ("accelerate.optimizer",)
_DEEPSPEED = ("deepspeed.", "accelerate.utils.deepspeed")


class Unwrapped(NamedTuple):
    """What is inside a wrapper.

    Attributes:
        optimizer: The one that makes the steps.
        scaler: The gradient scaler that its wrapper steps it by, or ``None``.
    """

    optimizer: Optimizer
    scaler: Any


def unwrap(optimizer: object) -> Unwrapped:
    """The optimizer in a wrapper of Fabric's or accelerate's; any other is left as it is.

    Not whatever has an attribute ``optimizer``: the likes of Lookahead have one too, and their own
    step is what is to be rolled for.

    Raises:
        SettingError: If it is no optimizer, or is DeepSpeed's.

    Example:
        >>> import torch
        >>> plain = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))])
        >>> unwrap(plain).optimizer is plain
        True
    """
    scaler = None
    while inner := _inner(optimizer):
        scaler = inner.scaler if scaler is None else scaler
        optimizer = inner.optimizer
    if any(kind.__module__.startswith(_DEEPSPEED) for kind in type(optimizer).__mro__):
        raise SettingError(
            "optimizer",
            type(optimizer).__name__,
            "DeepSpeed holds gradients in parts of its own, out of reach of a roll; train with DDP "
            "or FSDP, or by Lightning with granularity='per_mini_batch'",
        )
    if not isinstance(optimizer, Optimizer):
        raise SettingError("optimizer", optimizer, "expected an optimizer, or a list of them")
    return Unwrapped(optimizer, scaler)


def _inner(optimizer: Any) -> Unwrapped | None:
    if _comes_from(optimizer, _FABRIC):
        precision = optimizer._strategy.precision
        return Unwrapped(optimizer.optimizer, getattr(precision, "scaler", None))
    if _comes_from(optimizer, _ACCELERATE):
        return Unwrapped(optimizer.optimizer, optimizer.scaler)
    return None


def refresh(optimizer: Any) -> None:
    """Let a wrapper of accelerate's take up what its optimizer's ``step`` has become.

    With a gradient scaler it keeps the method that was there when it was made, and puts it back
    with every step. It takes it anew where it is restored from a pickle.
    """
    if _comes_from(optimizer, _ACCELERATE) and optimizer.scaler is not None:
        optimizer.__setstate__({})


def unwrap_model(model: nn.Module) -> nn.Module:
    """The module in wrappers that put a word before the names of its parameters.

    Example:
        >>> layer = nn.Linear(2, 1)
        >>> unwrap_model(DataParallel(layer)) is layer
        True
    """
    wrappers = (DataParallel, DistributedDataParallel)
    while isinstance(model, wrappers) or _comes_from(model, _FABRIC):
        inner = model.module
        assert isinstance(inner, nn.Module)
        model = inner
    return model


def _comes_from(wrapper: object, modules: tuple[str, ...]) -> bool:
    return any(kind.__module__ in modules for kind in type(wrapper).__mro__)
