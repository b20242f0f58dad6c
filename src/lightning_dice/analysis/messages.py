"""What each plot says, in one line: its title, and the text for readers who cannot see it."""

from __future__ import annotations

import math

import numpy as np

from lightning_dice.analysis.phrases import NBSP, counted, figures, plural, spoken, whole
from lightning_dice.analysis.readers import Rolls
from lightning_dice.analysis.run import Run
from lightning_dice.analysis.words import UNUSUAL, against_baseline, shown

MARKS = 800
"""Maximum number of rolls that get a mark of their own: two per point of the figure's width."""


def has_marks(rolls: Rolls) -> bool:
    """Whether each roll gets a mark in the strip under the loss, rather than a share of a bin."""
    return len(rolls) <= MARKS and len(np.unique(rolls.step)) == len(rolls)


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
    """State the observed scale beside the expected one."""
    if run.mean_scale is None:
        return "No scales are on record"
    if len(run.rolls) and run.rolls.kinds()["discard"] == len(run.rolls):
        return "Every roll is a discard"
    observed = f"The observed scale is {figures(run.mean_scale)}"
    expected = "" if run.expected is None else f", expected {figures(run.expected.mean)}"
    return observed + expected


def loss_reading(run: Run) -> str:
    """Say how to read the loss and the strip under it, as far as they are drawn."""
    if not len(run.rolls):
        return ""
    if has_marks(run.rolls):
        rolls = "a mark for each roll, in the row of its outcome"
    elif run.rolls.several:
        rolls = f"the share of each outcome among the rolls of all {plural(_row(run))}"
    else:
        rolls = "the share of each outcome among the rolls, as marks would run together"
    if not _is_drawn(run, "loss"):
        return f"Below, over the optimizer's steps: {rolls}."
    return f"Above, the loss; below, on the same axis of steps, what the dice said: {rolls}."


def outcomes_reading(run: Run) -> str:
    """Say how to read the bars of outcomes."""
    if not run.count:
        return ""
    if run.expected is None:
        return "Bars are what was rolled."
    return (
        "Bars are what was rolled, diamonds what the odds expect. Each range holds its count in "
        "95 % of runs, so now and then a bar ends outside one by luck alone."
    )


def scales_reading(run: Run) -> str:
    """Say how to read the scales."""
    if not len(run.rolls):
        return ""
    marks = "Each mark is a roll."
    if run.rolls.several:
        marks = "Each dot is the mean scale of one step's rolls."
    line = f"{marks} The line is the mean of all rolls so far, a discard counting as 0"
    if run.expected is None:
        return f"{line}."
    return f"{line}; it settles on the expected scale as the rolls add up."


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
    """Say how to read the slots."""
    if not len(run.rolls):
        return ""
    rows = (
        f"A row for each {_row(run)}. Left, its mean scale over the steps, a discard counting as "
        "0; right, its mean over the whole run."
    )
    if run.expected is None:
        return rows
    return (
        f"{rows} Of many {plural(_row(run))} a few lie outside the range of 95 % of runs by luck "
        "alone."
    )


def _row(run: Run) -> str:
    if run.by_rank:
        return "rank"
    return "optimizer" if run.scope == "model" else "slot"


def _is_drawn(run: Run, kind: str) -> bool:
    """Whether a curve of that kind of metric has a point to draw."""
    parts = (f"train_{kind}", f"train_{kind}_step", f"train_{kind}_epoch", f"val_{kind}")
    return any(len(run.metrics[name].finite.step) for name in parts if name in run.metrics)


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
