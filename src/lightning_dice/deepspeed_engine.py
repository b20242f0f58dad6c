"""Where mini-batches are rolled for under DeepSpeed, whose engine makes backward and step itself.

Neither goes through the module or through a hook of Lightning's, and gradients are held in flat
parts of its own. What is left within reach are the engine's ``backward``, and the step of the
optimizer that the user made, which the engine's own optimizers wrap.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lightning.pytorch import Trainer

from lightning_dice.intercept import Layer, intercept
from lightning_dice.trainer_state import lightning_class


def uses_deepspeed(trainer: Trainer) -> bool:
    """Whether ``trainer`` trains by DeepSpeed."""
    return lightning_class(trainer.strategy, "DeepSpeedStrategy") is not None


def intercept_engine(
    engine: Any, backward: Layer, discarded: Callable[[], bool | None]
) -> list[Callable[[], None]]:
    """Put ``backward`` around the engine's, and leave out steps that are discarded.

    A step that is left out moves no weight, moment or step count: the engine clears its gradients
    and hands round the weights that it has.

    Args:
        engine: A ``DeepSpeedEngine``.
        backward: What to run around its ``backward``.
        discarded: Whether nothing was kept for the step at hand; asked once for each parameter
            group, as the engine steps them one by one.

    Returns:
        Functions that take both away again.
    """
    innermost = engine.optimizer
    while hasattr(innermost, "optimizer"):
        innermost = innermost.optimizer

    def step(inner: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return None if discarded() else inner(*args, **kwargs)

    return [intercept(engine, "backward", backward), intercept(innermost, "step", step)]
