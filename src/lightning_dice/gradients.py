"""What a roll does to gradients: scale them, or leave the optimizer none at all."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

Parts = Sequence[tuple[list[Tensor], float | None]]
"""Parameters and the scale that was rolled for them; ``None`` is a discard."""


def scale_gradients(parts: Parts) -> None:
    """Multiply stored gradients by their scales in place, or discard them.

    One multi-tensor kernel, whatever the number of parts; no device synchronisation. A scale of 1
    touches nothing. A discard (``None``) removes the gradients, as a gradient of zero would still
    let momentum, weight decay and running moments move the weights.

    Args:
        parts: Tensors of any shape, device and dtype, with their scale; those without a gradient
            are passed over.

    Example:
        >>> weight, bias = torch.nn.Linear(2, 1).parameters()
        >>> weight.grad, bias.grad = torch.tensor([[2.0, 4.0]]), torch.tensor([8.0])
        >>> scale_gradients([([weight], -0.5), ([bias], None)])
        >>> weight.grad, bias.grad
        (tensor([[-1., -2.]]), None)
    """
    gradients: list[Tensor] = []
    scales: list[float] = []
    for parameters, scale in parts:
        if scale is None:
            for parameter in parameters:
                parameter.grad = None
        elif scale != 1:
            own = [p.grad for p in parameters if p.grad is not None]
            gradients += own
            scales += [scale] * len(own)
    if gradients:  # the kernel refuses an empty list
        one = len(parts) == 1
        torch._foreach_mul_(gradients, scales[0] if one else scales)


def scaled_backward(
    backward: Callable[..., None],
    loss: Tensor,
    scale: float | None,
    *args: Any,
    zeroed: Iterable[Tensor] | None = None,
    **kwargs: Any,
) -> None:
    """Run ``backward`` so that the batch's gradient is ``scale`` times its own.

    A discarded batch is not propagated at all, if nobody waits for it: multiplying its loss by 0
    would turn a NaN or an infinity inside it into NaN gradients.

    Args:
        backward: Called with the loss to propagate, then ``args`` and ``kwargs``.
        loss: The true loss, a scalar; it is left as it is.
        scale: The factor, or ``None`` for a discard.
        *args: Passed on.
        zeroed: Parameters that a discarded batch is propagated to all the same, arriving as zeros,
            where others wait for gradients: ranks that reduce them, a gradient scaler that
            inspects them. Those that the loss does not reach get none. They may be shards, while
            the loss was computed from something gathered.
        **kwargs: Passed on.

    Example:
        >>> weight = torch.ones((), requires_grad=True)
        >>> scaled_backward(torch.Tensor.backward, 3 * weight, 0.5)
        >>> weight.grad
        tensor(1.5000)
    """
    if scale is None:
        if zeroed is None:
            return
        # Where gradients arrive, as 0 times a NaN on the way there is a NaN. What is gathered from
        # shards is found in the graph alone; what a checkpoint computes again, by its parameter.
        arrivals = _arrivals(loss)
        found = {arrival.variable for arrival in arrivals}
        hooks = [arrival.register_prehook(_zeros) for arrival in arrivals]
        hooks += [
            p.register_hook(torch.zeros_like)  # type: ignore[no-untyped-call]
            for p in zeroed
            if p.requires_grad and p not in found
        ]
        try:
            backward(loss * 0, *args, **kwargs)
        finally:
            for hook in hooks:
                hook.remove()
    else:
        backward(loss if scale == 1 else loss * scale, *args, **kwargs)


def _arrivals(loss: Tensor) -> list[Any]:
    """The nodes of the loss's graph at which gradients are added to what is stored."""
    arrivals, seen, ahead = [], set(), [loss.grad_fn]
    while ahead:
        node = ahead.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            arrivals.append(node)
        ahead += [below for below, _ in node.next_functions]
    return arrivals


def _zeros(gradients: tuple[Tensor | None, ...]) -> tuple[Tensor | None, ...]:
    return tuple(None if g is None else torch.zeros_like(g) for g in gradients)
