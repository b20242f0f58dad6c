"""What each plot says, in one line; its title and the text for who cannot see it."""

from __future__ import annotations

import math

import numpy as np

from lightning_dice.analysis.phrases import NBSP, counted, figures, plural, spoken, whole
from lightning_dice.analysis.run import Run
from lightning_dice.analysis.words import UNUSUAL, against_baseline, shown


def loss_message(run: Run) -> str:
    """Where the loss ended."""
    return _ended(run, "val_loss", "train_loss") or "No loss was logged"


def accuracy_message(run: Run) -> str:
    """Where the accuracy ended."""
    return _ended(run, "val_accuracy", "train_accuracy") or "No accuracy was logged"


def outcomes_message(run: Run) -> str:
    """Whether the outcomes fall where the odds put them."""
    if not run.count:
        return "No rolls are on record"
    if run.luck is None:
        return f"What {counted(run.count, 'roll')} came to"
    p = "p under 0.001" if run.luck < 0.001 else f"p = {figures(run.luck, 2)}"
    if run.luck >= UNUSUAL:
        return f"The outcomes fall as the odds have it ({p})"
    return f"The outcomes stray further from the odds than they usually do ({p})"


def scales_message(run: Run) -> str:
    """How the mean scale stands to the expected one."""
    if run.mean_scale is None:
        return "No scales are on record"
    if len(run.rolls) and run.rolls.kinds()["discard"] == len(run.rolls):
        return "Every roll is a discard" + ("" if run.filtered else ": no update was made")
    mean = f"The mean scale is {figures(run.mean_scale)}"
    return mean if run.expected is None else f"{mean}, expected {figures(run.expected.mean)}"


def loss_reading(run: Run) -> str:
    """How to read the loss and the strip under it."""
    lead = "Above, the loss; below, on the same axis of steps, what the dice said: "
    if run.rolls.several:
        return f"{lead}the share of each outcome among the rolls of all {plural(_row(run))}."
    return lead + (
        "a mark for each roll, or the share of each outcome where marks would run together."
    )


def scales_reading(run: Run) -> str:
    """How to read the scales."""
    marks = "Each mark is a roll."
    if run.rolls.several:
        marks = "Each dot is the mean scale of one step's rolls."
    return (
        f"{marks} The line is the mean of all rolls so far, a discard counting as 0; it settles on "
        "the expected scale as the rolls add up."
    )


def slots_message(run: Run) -> str:
    """How many of the slots have a mean scale that is usual for their number of rolls."""
    if not len(run.rolls):
        return "No rolls are on record"
    counts, means = run.rolls.place_means()
    rows = counted(len(means), _row(run))
    if run.expected is None:
        return f"The mean scale of each of {rows}"
    low, high = run.expected.mean_range(counts)
    # Not by a rounding error: where every scale is the same, so are the range and the mean.
    inside = int(np.count_nonzero((means >= low - 1e-9) & (means <= high + 1e-9)))
    return f"{whole(inside)} of {rows} lie in the range of 95{NBSP}% of runs"


def slots_reading(run: Run) -> str:
    """How to read the slots."""
    return (
        f"A row for each {_row(run)}. Left, its mean scale over the steps, a discard counting as "
        f"0; right, its mean over the whole run. Of many {plural(_row(run))} a few lie outside the "
        "range of 95 % of runs by luck alone."
    )


def _row(run: Run) -> str:
    if run.by_rank:
        return "rank"
    return "optimizer" if run.scope == "model" else "slot"


def _ended(run: Run, *metrics: str) -> str:
    metric = next((name for name in metrics if run.final(name) is not None), None)
    value = None if metric is None else run.final(metric)
    if metric is None or value is None:
        return ""
    name = spoken(metric).capitalize()
    if math.isnan(value):
        return f"{name} ended as NaN"
    standing = against_baseline(run) if metric == run.metric else ""
    return ", ".join(filter(None, [f"{name} ended at {shown(run, metric, value)}", standing]))
