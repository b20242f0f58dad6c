"""Steps whose update will be discarded, without their forward and backward pass.

A roll is known before its batch is computed, and a discarded update leaves weights and optimizer as
they were. So Lightning is given something in the place of what computes the gradients, and goes
through all the rest of the step: hooks, counts, schedulers and loggers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lightning.pytorch import Trainer
from torch.optim import Optimizer

from lightning_dice.intercept import intercept


class NothingToCompute:
    """Stands for the closure of a mini-batch that nothing will come of.

    Args:
        zero_grad: Takes away the gradients of the step before, as the closure would have; ``None``
            where a window of mini-batches has begun already.
        result: What a training step without a loss comes to.
    """

    def __init__(self, zero_grad: Callable[[], None] | None, result: Any) -> None:
        self._zero_grad = zero_grad
        self._result = result

    def __call__(self) -> None:
        """Compute nothing."""
        if self._zero_grad is not None:
            self._zero_grad()

    def consume_result(self) -> Any:
        """What the loop asks for once the step is through."""
        return self._result


def leave_out(trainer: Trainer, leaves_out: Callable[[Optimizer], bool]) -> Callable[[], None]:
    """Compute nothing for mini-batches of the Trainer's automatic optimization that are left out.

    Args:
        trainer: The Trainer.
        leaves_out: Asked once before each mini-batch, with the optimizer that it is for.

    Returns:
        A function that leaves the Trainer as it was.
    """
    loop = trainer.fit_loop.epoch_loop.automatic_optimization

    def closure(make: Callable[..., Any], kwargs: Any, optimizer: Optimizer, batch_idx: int) -> Any:
        if not leaves_out(optimizer):
            return make(kwargs, optimizer, batch_idx)
        _forget_logged(trainer)
        nothing = loop.output_result_cls.from_training_step_output(
            None, trainer.accumulate_grad_batches
        )
        return NothingToCompute(loop._make_zero_grad_fn(batch_idx, optimizer), nothing)

    return intercept(loop, "_make_closure", closure)


def ends_window(trainer: Trainer) -> bool:
    """Whether the optimizer steps with the mini-batch at hand, or waits for others."""
    return not trainer.fit_loop._should_accumulate()


def _forget_logged(trainer: Trainer) -> None:
    """What ``training_step`` logged for the mini-batch before is none of this one's."""
    for name, metric in (trainer._results or {}).items():
        if name.startswith("training_step."):
            metric._forward_cache = None
