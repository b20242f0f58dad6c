"""How every number of the page is defined, a sentence each."""

from __future__ import annotations

from lightning_dice.analysis.phrases import counted
from lightning_dice.analysis.stress.gather import Stress
from lightning_dice.analysis.sweep.method import FEWEST, POSSIBLE, ROUNDING

_CORRUPTED = {
    "images": (
        "Images are corrupted by Gaussian noise (cut off at the data's range), Gaussian blur, a "
        "square in the mean colour, and less contrast; noise and places are the same for all runs."
    ),
    "text": (
        "Text is corrupted by exchanging neighbouring bytes, by leaving bytes out and by replacing "
        "them, the same ones for all runs. What is to be predicted stays the clean text, and moves "
        "with what is read; a byte that an exchange has given away does not count, nor does the "
        "end of a window, where what was left out is missing."
    ),
}
_MEASURED = (
    "Under corruption and under weight noise the value is the mean over all kinds and strengths.",
    "Weight noise is Gaussian, and its norm is a share of the norm of each filter; at each "
    "strength the value is the mean over the same draws for all runs.",
    "SAM sharpness is the rise of the loss within a ball around the weights (Foret et al. 2021, "
    "arXiv 2010.01412), adaptive sharpness within one that is measured in each weight's own size "
    "(Kwon et al. 2021, arXiv 2102.11600), both at the middle one of the radii. They are found by "
    "projected gradient ascent, so that they are lower bounds of the true worst case.",
    "int8 is symmetric, with a step for each filter, and rounds only the weights.",
    "The calibration error is the gap between confidence and accuracy, in 15 bins of confidence.",
    "Eigenvalues of the Hessian are Lanczos', and its trace is Hutchinson's estimate.",
    "Flatness is no proof of generalisation (Andriushchenko et al. 2023, arXiv 2302.07011), and a "
    "model that has learned little is flat as well: flatter is not better.",
)
_WINDOW = (
    "A learning-rate window is the range of neighbouring rates around the best one with which "
    "training ends within 1 % of it; its width is in decades. Where the grid of rates ends within "
    "it, the window may be wider than that."
)


def method(stress: Stress) -> list[str]:
    """The definitions of what the page shows."""
    kinds = {record.data for record in stress.records.values()}
    told = [text for kind, text in _CORRUPTED.items() if kind in kinds]
    if stress.records:
        told += _MEASURED
    if len(stress.windows):
        told.append(_WINDOW)
    size = stress.results.family_size
    if not size:
        return told
    return [
        *told,
        "Dice are compared with a control seed by seed: the difference is dice minus control, its "
        "95 % confidence interval and p-value are those of the paired t test.",
        POSSIBLE,
        FEWEST,
        ROUNDING,
        f"Holm's method corrects the p-values of all {counted(size, 'comparison')} of this page "
        "that could be tested; a difference is said to be there where the corrected p is under "
        "0.05 and the interval, which is not corrected, excludes 0. Where only the interval does, "
        "it is not confirmed.",
        "The detectable difference is the smallest one that so many pairs with this spread would "
        "show in 80 % of such sweeps, in a two-sided test at 0.05 without correction. That nothing "
        "can be told apart does not prove that it is the same.",
    ]
