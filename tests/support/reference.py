"""Roll-to-Train as a plain loop, written from the rule and sharing no code with the package.

Only the faces are the package's own (``Roller``), whose generator has a reference of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from lightning_dice.rules import Roller, SavingThrow
from support.toy import Factory, data, loss_of, network


def margin_d20(natural: int, threshold: int = 10) -> float | None:
    """The rule of a plain d20, word for word."""
    if natural == 1:
        return None
    if natural == 20:
        return 1.0
    return natural / 20 if natural >= threshold else (natural - threshold) / 20


def scales(throw: SavingThrow, seed: int, count: int, rule: Callable[[int], float | None]) -> list:
    return [rule(int(natural)) for natural in Roller(throw, seed).naturals(0, count)]


def train(
    optimizer: Factory,
    steps: int,
    step_scales: list[float | None] | None = None,
    batch_scales: list[float | None] | None = None,
    accumulate: int = 1,
    clip: Callable[[list[nn.Parameter]], Any] = lambda parameters: None,
) -> tuple[list[Tensor], dict[str, Any]]:
    """Weights and optimizer state after ``steps`` optimizer steps; ``None`` is a discard."""
    net = network()
    parameters = list(net.parameters())
    opt = optimizer(parameters)
    batches = data()
    batch = 0
    for step in range(steps):
        opt.zero_grad()
        kept = False
        for _ in range(accumulate):
            scale = 1.0 if batch_scales is None else batch_scales[batch]
            if scale is not None:
                kept = True
                loss = loss_of(net, batches[batch % len(batches)]) / accumulate
                (loss if scale == 1 else loss * scale).backward()
            batch += 1
        if not kept:
            continue
        clip(parameters)
        scale = 1.0 if step_scales is None else step_scales[step]
        if scale is None:
            continue
        for parameter in parameters:
            assert parameter.grad is not None
            parameter.grad.mul_(scale)
        opt.step()
    return [p.detach() for p in parameters], opt.state_dict()


def clip_by_norm(value: float) -> Callable[[list[nn.Parameter]], Any]:
    return lambda parameters: torch.nn.utils.clip_grad_norm_(parameters, value)


def clip_by_value(value: float) -> Callable[[list[nn.Parameter]], Any]:
    return lambda parameters: torch.nn.utils.clip_grad_value_(parameters, value)
