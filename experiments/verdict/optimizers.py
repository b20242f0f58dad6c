"""Optimizers over a pack: each run has its own learning rate, weight decay and dice.

All weights of a pack are one matrix, a run a row, so that a step is a dozen kernels whatever the
number of runs and tensors. What was rolled comes as ``(N, 1)``, where every tensor of a run has the
same, or ``(N, tensors)``. Nothing here reads a value back from the device.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from layout import Layout
from torch import Tensor


class Rolled(NamedTuple):
    """What was rolled for one step, ``(N, 1)`` or ``(N, tensors)``; ``None`` is 1 throughout.

    Attributes:
        gradient: Factors on gradients; any number where ``keep`` is false.
        update: Factors on updates; 0 for a discard.
        keep: False where the gradient is discarded, so that nothing moves, counts included.
    """

    gradient: Tensor | None = None
    update: Tensor | None = None
    keep: Tensor | None = None


class Alignment:
    """Magma's factor: how well a gradient agrees with the momentum, smoothed, by tensor.

    s <- 0.9 s + 0.1 sigmoid(cos(m, g) / 2), where the first moment m has the gradient g in it
    already, and s starts at 1/2. Source: arXiv 2602.15322.

    Args:
        layout: Of the model.
        hidden: Which tensors it acts on.
        runs: Which runs it acts on, shape ``(N,)``.
    """

    def __init__(self, layout: Layout, hidden: list[bool], runs: Tensor) -> None:
        self._layout = layout
        self._hidden = [name for name, chosen in zip(layout.names, hidden, strict=True) if chosen]
        columns = torch.tensor(hidden, device=runs.device)
        self._acts = runs.unsqueeze(1) & columns
        self._columns = columns.nonzero().flatten()
        self.score = torch.full((len(runs), len(self._hidden)), 0.5, device=runs.device)

    def __call__(self, moment: Tensor, grads: Tensor) -> Tensor:
        """The factors of this step, ``(N, tensors)``, 1 for what it does not act on."""
        moments, gradients = (self._layout.views(x.flatten(1)) for x in (moment, grads))
        cosines = [
            torch.cosine_similarity(moments[name].flatten(1), gradients[name].flatten(1))
            for name in self._hidden
        ]
        self.score.lerp_(torch.sigmoid(torch.stack(cosines, dim=1) / 2), 0.1)
        factors = torch.ones_like(self._acts, dtype=grads.dtype)
        factors.index_copy_(1, self._columns, self.score)
        return torch.where(self._acts, factors, 1.0)


class PackedOptimizer(ABC):
    """One step of N optimizers at once, on weights and gradients in blocks.

    Args:
        layout: Of the model.
        decay: Weight decay of each run, ``(N,)``, on what has two dimensions or more; ``None`` if
            no run has any.
        alignment: Magma's factor, if there are such runs.
    """

    default_decay: float = 0.0

    def __init__(
        self, layout: Layout, runs: int, decay: Tensor | None, alignment: Alignment | None
    ) -> None:
        self.layout = layout
        self._decay = None if decay is None else decay.view(-1, 1, 1)
        self._alignment = alignment
        self._runs = runs

    @property
    @abstractmethod
    def state(self) -> dict[str, Tensor]:
        """What the optimizers keep, a run a row."""

    @abstractmethod
    def absorb(self, weights: Tensor, grads: Tensor, rolled: Rolled) -> Tensor:
        """Move the state on; gives back the first moment."""

    @abstractmethod
    def delta(self, weights: Tensor, rate: Tensor) -> Tensor:
        """What is to be added to the weights.

        Args:
            weights: Shape ``(N, blocks, BLOCK)``.
            rate: Learning rates, ``(N, 1)`` or ``(N, tensors)``.
        """

    @torch.no_grad()
    def step(self, weights: Tensor, grads: Tensor, lr: Tensor, rolled: Rolled = Rolled()) -> None:  # noqa: B008 - immutable
        """Move the weights.

        Args:
            weights: Shape ``(N, length)``, changed in place.
            grads: Of the same shape, clipped.
            lr: Learning rates, ``(N,)``.
            rolled: What was rolled.
        """
        weights, grads = self.layout.blocks(weights), self.layout.blocks(grads)
        if rolled.gradient is not None:
            grads = grads * self.layout.spread(rolled.gradient)
        moment = self.absorb(weights, grads, rolled)
        rate = lr.unsqueeze(1)
        if rolled.update is not None:
            rate = rate * rolled.update
        if self._alignment is not None:
            rate = rate * self._alignment(moment, grads)
        delta = self.delta(weights, rate)
        if rolled.keep is not None:
            delta = torch.where(self.layout.spread(rolled.keep), delta, 0.0)
        weights += delta

    def _zeros(self, weights: Tensor) -> Tensor:
        return torch.zeros_like(weights, requires_grad=False)

    def _with_decay(self, weights: Tensor, grads: Tensor) -> Tensor:
        """Gradients with that of the weights' square added, as torch's other optimizers decay."""
        if self._decay is None:
            return grads
        grads = grads.clone()
        end = self.layout.decayed
        grads[:, :end].addcmul_(weights[:, :end], self._decay)
        return grads


class AdamW(PackedOptimizer):
    """As ``torch.optim.AdamW`` with betas 0.9 and 0.99; its decay is part of the update."""

    betas, eps = (0.9, 0.99), 1e-8
    default_decay = 0.1

    first: Tensor | None = None

    @property
    def state(self) -> dict[str, Tensor]:
        """See ``PackedOptimizer``."""
        return {"first": self.first, "second": self.second, "steps": self.steps}

    def absorb(self, weights: Tensor, grads: Tensor, rolled: Rolled) -> Tensor:
        """See ``PackedOptimizer``."""
        columns = 1 if rolled.keep is None else rolled.keep.shape[1]
        if self.first is None:
            self.first, self.second = self._zeros(weights), self._zeros(weights)
            self.steps = torch.zeros(self._runs, columns, dtype=torch.double, device=weights.device)
        if rolled.keep is None:
            self.first.lerp_(grads, 1 - self.betas[0])
            self.second.mul_(self.betas[1]).addcmul_(grads, grads, value=1 - self.betas[1])
            self.steps += 1
            return self.first
        keep = self.layout.spread(rolled.keep)
        self.first = torch.where(keep, self.first.lerp(grads, 1 - self.betas[0]), self.first)
        second = (self.second * self.betas[1]).addcmul_(grads, grads, value=1 - self.betas[1])
        self.second = torch.where(keep, second, self.second)
        self.steps = self.steps + rolled.keep
        return self.first

    def delta(self, weights: Tensor, rate: Tensor) -> Tensor:
        """See ``PackedOptimizer``."""
        assert self.first is not None
        # Small and in double precision: 1 - 0.99^t loses digits where t is small. What was never
        # kept has no state, and any finite factor will do for it.
        steps = self.steps.clamp(min=1)
        root = (1 - self.betas[1] ** steps).sqrt()
        size = (rate * root / (1 - self.betas[0] ** steps)).to(weights.dtype)
        floor = (self.eps * root).to(weights.dtype)
        below = self.second.sqrt().add_(self.layout.spread(floor))
        delta = torch.div(self.first, below, out=below).mul_(self.layout.spread(-size))
        if self._decay is not None:
            end = self.layout.decayed
            shrink = self.layout.spread(rate) * self._decay
            delta[:, :end].addcmul_(weights[:, :end], shrink[:, :end], value=-1)
        return delta


class RMSprop(PackedOptimizer):
    """As ``torch.optim.RMSprop`` with alpha 0.99; keeps a first moment for Magma's factor alone."""

    alpha, eps, beta = 0.99, 1e-8, 0.9

    second: Tensor | None = None
    first: Tensor | None = None

    @property
    def state(self) -> dict[str, Tensor]:
        """See ``PackedOptimizer``."""
        return {"second": self.second}

    def absorb(self, weights: Tensor, grads: Tensor, rolled: Rolled) -> Tensor:
        """See ``PackedOptimizer``."""
        if self.second is None:
            self.second = self._zeros(weights)
        if self._alignment is not None:
            self.first = self._zeros(weights) if self.first is None else self.first
            self.first.lerp_(grads, 1 - self.beta)
        grads = self._with_decay(weights, grads)
        self._grads = grads
        if rolled.keep is None:
            self.second.mul_(self.alpha).addcmul_(grads, grads, value=1 - self.alpha)
        else:
            keep = self.layout.spread(rolled.keep)
            second = (self.second * self.alpha).addcmul_(grads, grads, value=1 - self.alpha)
            self.second = torch.where(keep, second, self.second)
        return grads if self.first is None else self.first

    def delta(self, weights: Tensor, rate: Tensor) -> Tensor:
        """See ``PackedOptimizer``."""
        assert self.second is not None
        below = self.second.sqrt().add_(self.eps)
        return torch.div(self._grads, below, out=below).mul_(self.layout.spread(-rate))


class SGD(PackedOptimizer):
    """As ``torch.optim.SGD`` with momentum 0.9."""

    momentum = 0.9

    first: Tensor | None = None

    @property
    def state(self) -> dict[str, Tensor]:
        """See ``PackedOptimizer``."""
        return {"first": self.first}

    def absorb(self, weights: Tensor, grads: Tensor, rolled: Rolled) -> Tensor:
        """See ``PackedOptimizer``."""
        if self.first is None:
            self.first = self._zeros(weights)
        grads = self._with_decay(weights, grads)
        if rolled.keep is None:
            self.first.mul_(self.momentum).add_(grads)
        else:
            keep = self.layout.spread(rolled.keep)
            self.first = torch.where(keep, self.first * self.momentum + grads, self.first)
        return self.first

    def delta(self, weights: Tensor, rate: Tensor) -> Tensor:
        """See ``PackedOptimizer``."""
        assert self.first is not None
        return self.first * self.layout.spread(-rate)


BASES: dict[str, type[PackedOptimizer]] = {"adamw": AdamW, "rmsprop": RMSprop, "sgd": SGD}
"""The base optimizers by name."""


def clipped(grads: Tensor, limit: float = 1.0) -> Tensor:
    """Gradients whose norm, over all tensors of a run, is at most ``limit``; changed in place."""
    norms = grads.norm(dim=1, keepdim=True)
    return grads.mul_((limit / (norms + 1e-6)).clamp(max=1.0))
