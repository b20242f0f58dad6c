"""Roll-to-Train by hand, in float64: what every cell of the matrix is held against.

It shares no code with the package. It is given the gradients that backward left, for each
evaluation, and the weights that each step started from; clipping, dice, scopes, targets and the
arithmetic of the update are its own, and the optimizers are torch's, in float64.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

FACTORS = [None, -0.75, 0.25, 0.0, 1.0, 2.5]
"""What the faces of the die mean: discard, inverse, part, nothing, full, more than full."""
CLIP = 0.05


def face(seed: int, step: int, slot: int) -> int:
    """The face of a six-sided die: word ``step`` of the Philox stream (seed, 0), modulo 6."""
    counter = np.array([step // 4, slot, 0, 0], dtype=np.uint64)
    stream = np.random.Philox(counter=counter, key=np.array([seed, 0], dtype=np.uint64))
    return 1 + int(stream.random_raw(4)[step % 4] % np.uint64(6))


def clip(kind: str, parameters: list[Tensor]) -> None:
    """Clip stored gradients as the Trainer or the user would."""
    if kind == "norm":
        nn.utils.clip_grad_norm_(parameters, CLIP)
    elif kind == "value":
        nn.utils.clip_grad_value_(parameters, CLIP)
    elif kind == "own":
        for parameter in parameters:
            parameter.grad.mul_(0.3)


class Reference:
    """The optimizer of one run, stepped by hand."""

    def __init__(
        self,
        factory: Callable[[list[dict[str, Any]]], Optimizer],
        groups: list[list[Tensor]],
        target: str,
        scope: str,
        clipping: str,
        seed: int,
        dtype: torch.dtype,
    ) -> None:
        self.groups = [[nn.Parameter(p.to(dtype)) for p in group] for group in groups]
        self.parameters = [p for group in self.groups for p in group]
        self.optimizer = factory([{"params": group} for group in self.groups])
        self.target, self.scope, self.clipping = target, scope, clipping
        self.seed, self.dtype = seed, dtype

    def factors(self, step: int) -> list[float | None]:
        """What was rolled for each parameter."""
        if self.scope == "model":
            slots: list[int | None] = [0 for _ in self.parameters]
        elif self.scope == "tensor":
            slots = list(range(len(self.parameters)))
        elif self.scope == "param_group":
            slots = [index for index, group in enumerate(self.groups) for _ in group]
        else:  # filtered: the first parameter is left out
            slots = [None, *(0 for _ in self.parameters[1:])]
        return [1.0 if slot is None else FACTORS[face(self.seed, step, slot) - 1] for slot in slots]

    def step(
        self, step: int, before: list[Tensor], evaluations: Iterator[tuple[float, list[Tensor]]]
    ) -> list[Tensor]:
        """Where one step from ``before`` ends; LBFGS asks for several losses with gradients."""
        with torch.no_grad():
            for parameter, weight in zip(self.parameters, before, strict=True):
                parameter.copy_(weight)
        factors = self.factors(step)

        def evaluate() -> float:
            loss, gradients = next(evaluations)
            for parameter, gradient in zip(self.parameters, gradients, strict=True):
                parameter.grad = gradient.to(self.dtype, copy=True)
            clip(self.clipping, self.parameters)
            for parameter, factor in zip(self.parameters, factors, strict=True):
                if self.target == "gradient":
                    parameter.grad = None if factor is None else parameter.grad * factor
            return loss

        self.optimizer.step(evaluate)
        after = [p.detach().double() for p in self.parameters]
        if self.target == "gradient":  # LBFGS moves what has no gradient along with the rest
            kept = zip(before, after, factors, strict=True)
            return [start.double() if factor is None else end for start, end, factor in kept]
        return [
            start.double() + factor * (end - start.double()) if factor else start.double()
            for start, end, factor in zip(before, after, factors, strict=True)
        ]
