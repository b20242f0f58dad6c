"""Wrong labels, to train on."""

from __future__ import annotations

import torch
from torch import Tensor


def with_wrong_labels(labels: Tensor, share: float, seed: int = 0) -> Tensor:
    """A copy in which a share of the labels, chosen at random, is another label.

    Those that are wrong at a smaller share are wrong at a larger one too, and are the same.

    Args:
        labels: Shape ``(N,)``, of any integer type. Wrong ones are drawn from the values that
            occur, all but the right one with the same chance.
        share: How many, 0 to 1; rounded to a whole number of labels.
        seed: Decides which ones, and what they become; nothing else does.

    Example:
        >>> with_wrong_labels(torch.tensor([3, 5, 3, 5, 3, 5]), share=0.5)
        tensor([3, 5, 5, 3, 3, 3])
    """
    values, ranks = torch.unique(labels, return_inverse=True)
    if share == 0 or len(values) < 2:
        return labels.clone()
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(labels), generator=generator)
    moves = torch.randint(1, len(values), (len(labels),), generator=generator)
    wrong = order[: round(share * len(labels))]
    noisy = labels.clone()
    noisy[wrong] = values[(ranks[wrong] + moves[wrong]) % len(values)]
    return noisy
