"""How every number of the page is defined, a sentence each."""

from __future__ import annotations

from lightning_dice.analysis.sweep.method import FEWEST, ROUNDING
from lightning_dice.analysis.tolerance.study import Tolerance


def method(study: Tolerance) -> list[str]:
    """The definitions."""
    ratio = (
        "what it ends at over what plain ends at"
        if study.measure.mode == "max"
        else "what plain ends at over what it ends at"
    )
    told = [
        "An optimizer stands here for one optimizer with its clipping and its learning rate; each "
        "is only held against plain training of its own, of the same seed.",
        f"What a run keeps is {ratio}, of {study.measure.spoken} ({study.measure.better} is "
        "better): 0 for a run that diverged, never below 0, and above 1 where dice end better than "
        "plain, which is not cut off.",
        f"A run survives if it ends no more than {study.within.spoken(study.measure)} worse than "
        "plain of the same seed.",
        "The breakdown threshold of a seed is the last one before the first that it does not "
        "survive, from the mildest dice to the harshest, which is by E[s]. A seed that survives "
        "none counts as one below the lowest threshold, and its odds as those of plain; one that "
        "survives all counts as the highest, and the mean is then written as that or more.",
        "The area is that under what is kept against the share of rolls that reverse (or discard, "
        "in a family that never reverses), by the trapezoid, from plain to the largest "
        "share that all optimizers have, over that share. Where arms have the same share, plain's "
        "0 among them, their mean counts. A seed that lacks a run of a family has no area.",
        "An optimizer's score is the mean area over the families that all optimizers have, seed "
        "by seed, of the seeds that all have.",
        "Every pair of optimizers is held against each other by the paired t test over the seeds; "
        "Holm's method corrects for all pairs, and one that is confirmed has a corrected p under "
        "0.05.",
        "A rank reaches from one more than the number of optimizers confirmed to be better, to all "
        "but those confirmed to be worse; optimizers whose ranks overlap may still be told apart "
        "in pairs.",
        "Confidence intervals are Student's t at 95 % over the seeds, without correction; they end "
        "where thresholds do, at 1 and at the die's largest total, and shares at 0.",
        FEWEST,
        ROUNDING,
        "The control with the same mean step is plain training at the learning rate times E[s]: "
        "what it loses is due to smaller steps, what dice lose beyond it to their noise. It is "
        "averaged over the thresholds and seeds that have both.",
    ]
    told += study.sweep.notes_on_targets
    tables = study.sweep.own_tables
    told += [f"The factors of {name}, by face: {factors}." for name, factors in tables.items()]
    return told
