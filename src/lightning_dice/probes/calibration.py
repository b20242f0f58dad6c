"""How well predictions score, and whether a model is as right as it is sure."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the field's name for it
from torchmetrics.functional.classification import multiclass_calibration_error

BINS = 15
UNSCORED = -100
"""The label of an example that does not count, as torch's losses have it."""


def score(logits: Tensor, labels: Tensor) -> dict[str, float]:
    """Cross-entropy and accuracy.

    Args:
        logits: Shape ``(N, C)``.
        labels: Shape ``(N,)``; those that are ``UNSCORED`` do not count.

    Returns:
        ``loss`` in nats and ``accuracy``, a share.

    Example:
        >>> score(torch.tensor([[0.0, 0.0], [0.0, 0.0], [9.0, 0.0]]), torch.tensor([1, 0, -100]))
        {'loss': 0.6931471824645996, 'accuracy': 0.5}
    """
    counts = labels != UNSCORED
    logits, labels = logits[counts].float(), labels[counts]
    return {
        "loss": float(F.cross_entropy(logits, labels)),
        "accuracy": float((logits.argmax(dim=1) == labels).float().mean()),
    }


def calibration(logits: Tensor, labels: Tensor) -> dict[str, float]:
    """How far confidence, the probability of the likeliest class, is from being right.

    The expected calibration error is torchmetrics': the gap between confidence and accuracy in
    ``BINS`` equal bins of confidence, weighted by how many examples each has (Guo et al. 2017,
    arXiv 1706.04599).

    Args:
        logits: Shape ``(N, C)``.
        labels: Shape ``(N,)``.

    Returns:
        ``calibration error`` and ``confidence``, and the latter by itself ``when right`` and
        ``when wrong`` where there are such answers.
    """
    probabilities = logits.float().softmax(dim=1)
    error = multiclass_calibration_error(
        probabilities, labels, num_classes=logits.shape[1], n_bins=BINS, norm="l1"
    )
    confidence, answers = probabilities.max(dim=1)
    right = answers == labels
    told = {"calibration error": float(error), "confidence": float(confidence.mean())}
    for name, which in (("confidence when right", right), ("confidence when wrong", ~right)):
        if bool(which.any()):
            told[name] = float(confidence[which].mean())
    return told


def mean_and_error(values: list[float]) -> tuple[float, float]:
    """The mean of independent draws and its standard error.

    Example:
        >>> mean_and_error([1.0, 2.0, 3.0])
        (2.0, 0.5773502691896258)
    """
    drawn = torch.tensor(values, dtype=torch.float64)
    return float(drawn.mean()), float(drawn.std() / len(values) ** 0.5)
