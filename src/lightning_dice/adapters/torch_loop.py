"""The saving throw in any loop that calls ``optimizer.step()``: plain, Fabric's, accelerate's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import nn
from torch.optim import Optimizer

from lightning_dice.adapters.handle import DiceHandle
from lightning_dice.adapters.owners import dice_of
from lightning_dice.adapters.wrappers import unwrap
from lightning_dice.choices import Choices, Granularity, Ranks, check_throw
from lightning_dice.places import usable
from lightning_dice.resuming import check_changes
from lightning_dice.rules import SavingThrow, SettingError, ThrowSettings
from lightning_dice.rules.checking import in_order
from lightning_dice.rules.draws import Draws
from lightning_dice.scope import Scope
from lightning_dice.steps import Target
from lightning_dice.training_files import local_folder


def attach(
    optimizer: Optimizer | Sequence[Optimizer],
    throw: SavingThrow | ThrowSettings | None = None,
    *,
    granularity: Granularity = "per_accumulation_step",
    target: Target = "gradient",
    scope: Scope = "model",
    include: Sequence[str] | None = None,
    exclude: Sequence[str] | None = None,
    ranks: Ranks = "shared",
    draws: Draws = "independent",
    seed: int | None = None,
    changes: Sequence[str] = (),
    model: nn.Module | None = None,
    scaler: Any = None,
    folder: str | Path | None = None,
    ordinal: int = 0,
) -> DiceHandle:
    """Roll for every step of an optimizer from here on, whoever calls ``optimizer.step()``.

    The roll acts inside the step, so that whatever is done to gradients before it, unscaling and
    clipping among them, has been done. It may be called before or after schedulers are made, and
    whatever ``step`` is given a closure. An optimizer that is stepped in stages, by ``first_step``
    and ``second_step``, has one roll for both. A copy of the optimizer has no dice.

    Dice of an earlier training on the same optimizer are replaced if they have rolled, or if a cell
    of a notebook failed since; files in ``folder`` are taken over from whoever wrote them before.

    With several processes all of them call this, with the same settings; a default process group
    that exists by then is used to compare them, once. Training sends no message more.

    Args:
        optimizer: The optimizer, also one that Fabric or accelerate has wrapped, or a list of those
            of one training: their steps are counted together, as Lightning counts them.
        throw: Die, threshold and scaling: a ``SavingThrow``, or its settings by name.
        granularity: What one roll belongs to in time: ``"per_accumulation_step"`` (an optimizer
            step) or ``"per_mini_batch"``, whose losses then go through ``handle.backward(loss)``.
        target: As in ``SavingThrowCallback``, as are the following.
        scope: What one roll belongs to in space.
        include: Patterns of parameter names that are rolled for. Names are those of ``model``, or
            of an optimizer that was made from ``model.named_parameters()``.
        exclude: Patterns of parameter names that are not.
        ranks: With ``per_mini_batch`` and several processes: one roll that is ``"shared"``, or an
            ``"independent"`` one for each process.
        draws: How naturals come up.
        seed: 0 to 2^64 - 1; ``None`` takes the seed of Fabric's or Lightning's
            ``seed_everything``, or else draws one, shared by all processes.
        changes: Names of settings that may differ from those in a state that is loaded.
        model: The model whose parameters have names; not needed without ``include``, ``exclude``
            and ``folder``.
        scaler: The gradient scaler by which the optimizer is stepped, if there is one. Then a step
            that it leaves out takes its roll with it, as under Lightning and HuggingFace, be the
            optimizer fused or not. ``per_mini_batch`` needs it. Wrapped optimizers bring theirs
            along.
        folder: Where ``rolls.csv`` and ``saving_throw.json`` are written; without one the newest
            rolls are kept in memory.
        ordinal: Tells apart several saving throws that share a seed: 0, 1, ...

    Returns:
        A handle to take the dice away, to save and restore them, and to look at rolls.

    Raises:
        SettingError: If a value is outside what is allowed, if the optimizer was just given these
            dice or is DeepSpeed's, or if processes differ; the message names the remedy.

    Example:
        >>> import torch
        >>> weight = torch.nn.Parameter(torch.ones(1))
        >>> optimizer = torch.optim.SGD([weight], lr=1.0)
        >>> dice = attach(optimizer, SavingThrow("d20", threshold=10), target="update", seed=0)
        >>> for _ in range(3):
        ...     weight.grad = torch.ones(1)
        ...     optimizer.step()
        >>> [record.scale for record in dice.rolls.recent]
        [1.0, 0.95, 0.5]
        >>> weight.data
        tensor([-1.4500])
        >>> dice.remove()
    """
    choices = Choices(
        SavingThrow() if throw is None else check_throw(throw),
        granularity=granularity,
        target=target,
        scope=scope,
        include=include,
        exclude=exclude,
        ranks=ranks,
        draws=draws,
        seed=seed,
    )
    choices.check()
    return DiceHandle(
        _listed(optimizer),
        choices,
        changes=check_changes(changes, choices.settings()),
        model=model,
        scaler=scaler,
        folder=None if folder is None else _local(folder),
        ordinal=ordinal,
    )


def _listed(optimizer: Any) -> list[Any]:
    if not isinstance(optimizer, Sequence):
        return [optimizer]
    return in_order("optimizer", optimizer, "expected an optimizer, or a list of them")


def _local(folder: str | Path) -> Path:
    local = local_folder(usable("folder", folder))
    if local is None:
        remedy = "expected a folder of this machine, as rolls are appended to a local file"
        raise SettingError("folder", str(folder), f"{remedy}; rolls.recent has the newest ones")
    return local


def detach(optimizer: Optimizer | Sequence[Optimizer]) -> None:
    """Take all dice off an optimizer, as ``handle.remove()`` does where somebody has the handle.

    Args:
        optimizer: As ``attach`` takes it. One that has no dice is left as it is.

    Example:
        >>> import torch
        >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))])
        >>> _ = attach(optimizer, seed=0)
        >>> detach(optimizer)
        >>> dice = attach(optimizer, seed=0)
    """
    for one in _listed(optimizer):
        for dice in dice_of(unwrap(one).optimizer).values():
            dice.remove()
