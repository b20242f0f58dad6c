"""Inputs as the world may hand them over: images with noise, text with slips.

Blur is SciPy's. The package imagecorruptions needs images of 32 pixels or more, and brings OpenCV
and numba.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Generator, Tensor

from lightning_dice.probes.calibration import UNSCORED

Pair = tuple[Tensor, Tensor]


class Corruption(NamedTuple):
    """One way to corrupt inputs.

    Attributes:
        strengths: What is measured, ascending.
        corrupt: From inputs, labels, a strength and a CPU generator to both as they are to be
            predicted; the same generator gives the same noise at every strength.
    """

    strengths: tuple[float, ...]
    corrupt: Callable[[Tensor, Tensor, float, Generator], Pair]


def kind_of(inputs: Tensor) -> str | None:
    """``images`` for floats ``(B, C, H, W)``, ``text`` for int64 ``(B, T)``, else ``None``.

    Example:
        >>> kind_of(torch.zeros(2, 1, 8, 8)), kind_of(torch.zeros(2, 8))
        ('images', None)
    """
    if inputs.ndim == 4 and inputs.is_floating_point():
        return "images"
    if inputs.ndim == 2 and inputs.dtype == torch.int64:
        return "text"
    return None


def corrupted(corruption: Corruption, pair: Pair, strength: float, seed: int) -> Pair:
    """Inputs and labels, corrupted.

    Args:
        corruption: How.
        pair: All inputs and labels, on the CPU.
        strength: How much; 0 is not at all.
        seed: Of the noise.
    """
    return corruption.corrupt(*pair, strength, Generator().manual_seed(seed))


def noise(images: Tensor, labels: Tensor, strength: float, generator: Generator) -> Pair:
    """Gaussian noise with a deviation of so much of the images' range, and cut off at its ends."""
    low, high = images.min(), images.max()
    drawn = torch.randn(images.shape, generator=generator, dtype=images.dtype)
    return (images + strength * (high - low) * drawn).clamp(low, high), labels


def blur(images: Tensor, labels: Tensor, strength: float, generator: Generator) -> Pair:
    """Gaussian blur with a deviation of so much of the images' height."""
    from scipy.ndimage import gaussian_filter

    sigma = strength * images.shape[2]
    return torch.from_numpy(gaussian_filter(images.numpy(), (0, 0, sigma, sigma))), labels


def occlusion(images: Tensor, labels: Tensor, strength: float, generator: Generator) -> Pair:
    """A square in the images' mean colour, with a side of so much of the height, anywhere."""
    examples, _, height, width = images.shape
    side = min(round(strength * height), width)
    at = torch.rand(2, examples, 1, generator=generator)
    top, left = (at[0] * (height - side + 1)).long(), (at[1] * (width - side + 1)).long()
    rows, columns = torch.arange(height), torch.arange(width)
    hidden = ((rows >= top) & (rows < top + side))[:, None, :, None] & (
        (columns >= left) & (columns < left + side)
    )[:, None, None, :]
    return torch.where(hidden, images.mean(), images), labels


def contrast(images: Tensor, labels: Tensor, strength: float, generator: Generator) -> Pair:
    """Every pixel so much of the way to its image's mean."""
    return torch.lerp(images, images.mean(dim=(1, 2, 3), keepdim=True), strength), labels


def swaps(text: Tensor, labels: Tensor, strength: float, generator: Generator) -> Pair:
    """So many of the pairs of neighbours exchanged.

    What is to be predicted stays the clean text. Where the first of an exchanged pair is read, it
    has been given away, and does not count.
    """
    pairs = text.shape[1] // 2
    swap = torch.rand(len(text), pairs, generator=generator) < strength
    ends = text[:, : 2 * pairs].reshape(-1, pairs, 2)
    mixed = torch.where(swap[..., None], ends.flip(2), ends).flatten(1)
    read = torch.cat((mixed, text[:, 2 * pairs :]), dim=1)
    given = torch.zeros_like(text, dtype=torch.bool)
    given[:, 0 : 2 * pairs : 2] = swap
    return read, labels.masked_fill(given, UNSCORED)


def deletions(text: Tensor, labels: Tensor, strength: float, generator: Generator) -> Pair:
    """So many of the bytes left out; later ones move up, and what is to be predicted with them.

    What is to be predicted after a byte stays what follows it in the clean text. The end of the
    window, for which there are no bytes left, does not count.
    """
    gone = torch.rand(text.shape, generator=generator) < strength
    order = gone.long().argsort(dim=1, stable=True)  # those that stay come first, in their order
    empty = gone.gather(1, order)
    read, asked = text.gather(1, order), labels.gather(1, order)
    return read.masked_fill(empty, 0), asked.masked_fill(empty, UNSCORED)


def replacements(text: Tensor, labels: Tensor, strength: float, generator: Generator) -> Pair:
    """So many of the bytes replaced by any of those that occur; what is to be predicted is not."""
    wrong = torch.rand(text.shape, generator=generator) < strength
    known = torch.from_numpy(np.unique(text.numpy()))
    drawn = known[torch.randint(len(known), text.shape, generator=generator)]
    return torch.where(wrong, drawn, text), labels


_SLIPS = (0.02, 0.05, 0.1, 0.2, 0.3)
CORRUPTIONS: Mapping[str, Mapping[str, Corruption]] = {
    "images": {
        "noise": Corruption((0.1, 0.2, 0.3, 0.4, 0.5), noise),
        "blur": Corruption((0.05, 0.075, 0.1, 0.125, 0.15), blur),
        "occlusion": Corruption((0.125, 0.25, 0.375, 0.5, 0.625), occlusion),
        "contrast": Corruption((0.2, 0.4, 0.6, 0.8, 0.9), contrast),
    },
    "text": {
        "swaps": Corruption(_SLIPS, swaps),
        "deletions": Corruption(_SLIPS, deletions),
        "replacements": Corruption(_SLIPS, replacements),
    },
}
"""By kind of data and name."""
