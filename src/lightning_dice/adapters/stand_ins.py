"""Gradients of zero in the place of those that a discarded mini-batch does not have."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor


class StandIns:
    """Gives parameters a gradient to look at, between a discarded mini-batch and what comes next.

    A loop may clip or print gradients after every backward pass, and ``clip_grad_value_`` refuses
    to clip none. Where there are gradients already, of mini-batches before, nothing is added.

    Example:
        >>> weight = torch.nn.Parameter(torch.ones(1))
        >>> stand_ins = StandIns()
        >>> stand_ins.give([weight])
        >>> weight.grad
        tensor([0.])
        >>> stand_ins.take_back()
        >>> weight.grad is None
        True
    """

    def __init__(self) -> None:
        self._given: list[tuple[Tensor, Tensor]] = []

    def give(self, parameters: Iterable[Tensor]) -> None:
        """Give zeros to parameters none of which has a gradient."""
        trained = [parameter for parameter in parameters if parameter.requires_grad]
        if any(parameter.grad is not None for parameter in trained):
            return
        for parameter in trained:
            parameter.grad = torch.zeros_like(parameter)
            self._given.append((parameter, parameter.grad))

    def take_back(self) -> None:
        """Take away what was given and is still there: an optimizer would step by it."""
        for parameter, gradient in self._given:
            if parameter.grad is gradient:
                parameter.grad = None
        self._given.clear()
