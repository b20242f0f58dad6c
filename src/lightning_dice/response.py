"""How optimizers answer to a scaled gradient: few of them make a step that is scaled alike.

Gradient descent moves weights by the gradient, so a gradient times s gives a step times s. Most
optimizers divide a gradient by its own size, or mix it with those of earlier steps. Under them a
roll that scales gradients says little about how far, or which way, the weights move.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch.optim import Optimizer

from lightning_dice.choices import Choices

Response = Literal["linear", "momentum", "rescales", "unknown"]

_RESCALES = tuple(
    getattr(torch.optim, name)
    for name in (
        "Adadelta",
        "Adafactor",
        "Adagrad",
        "Adam",
        "AdamW",
        "Adamax",
        "LBFGS",
        "Muon",
        "NAdam",
        "RAdam",
        "RMSprop",
        "Rprop",
        "SparseAdam",
    )
    if hasattr(torch.optim, name)  # Muon came with torch 2.9
)
_LINEAR = (torch.optim.SGD, torch.optim.ASGD)


def response_of(optimizer: Optimizer) -> Response:
    """Return how the step of ``optimizer`` answers to a gradient times s.

    Args:
        optimizer: Any optimizer; classes from elsewhere than ``torch.optim`` are not known, and
            neither are those that derive from gradient descent, as they may do anything.

    Returns:
        ``"linear"``: the step is s times as large. ``"momentum"``: the step is a mixture with
        gradients of earlier steps. ``"rescales"``: the gradient is divided by a size that it has
        itself contributed to. ``"unknown"``: any of these.

    Example:
        >>> weight = torch.nn.Parameter(torch.ones(1))
        >>> response_of(torch.optim.AdamW([weight])), response_of(torch.optim.SGD([weight]))
        ('rescales', 'linear')
    """
    if isinstance(optimizer, _RESCALES):
        return "rescales"
    if type(optimizer) not in _LINEAR:
        return "unknown"
    mixes = any(group.get("momentum") for group in optimizer.param_groups)
    return "momentum" if mixes else "linear"


_ANSWERS = {
    "rescales": "{name} rescales gradients",
    "momentum": "{name} mixes gradients with those of earlier steps (momentum)",
    "unknown": "{name} may rescale gradients or mix them with those of earlier steps",
}
_ARRIVES = {
    "rescales": "a scale of -0.5 will still move the weights forwards",
    "momentum": "a scale of -0.5 will often still move the weights forwards",
    "unknown": "a scale of -0.5 may still move the weights forwards",
}


def gradient_notice(optimizer: Optimizer, choices: Choices) -> str | None:
    """Return one line for the start of training, where scaled gradients are not scaled updates.

    Args:
        optimizer: An optimizer whose gradients are scaled.
        choices: What was chosen about the dice.

    Returns:
        ``None`` where the update is what the die says: with ``target="update"``, where the
        optimizer's step is linear in the gradient, and where every roll applies an update in full
        or discards it.

    Example:
        >>> weight = torch.nn.Parameter(torch.ones(1))
        >>> gradient_notice(torch.optim.AdamW([weight]), Choices())
        "AdamW rescales gradients: a scale of -0.5 will still move the weights forwards; \
target='update' makes the step what the die says"
    """
    response = response_of(optimizer)
    partial = any(factor not in (None, 1) for factor in choices.throw.factors)
    if choices.target == "update" or response == "linear" or not partial:
        return None
    answer = _ANSWERS[response].format(name=type(optimizer).__name__)
    return f"{answer}: {_ARRIVES[response]}; {_remedy(choices)} makes the step what the die says"


def _remedy(choices: Choices) -> str:
    """Name all that must change for ``target="update"`` to be accepted."""
    if choices.granularity == "per_mini_batch":
        return "granularity='per_accumulation_step' with target='update'"
    if choices.skip_discarded:
        return "target='update' without skip_discarded"
    return "target='update'"
