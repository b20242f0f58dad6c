"""What each plot says, in one line; its title and the text for who cannot see it."""

from __future__ import annotations

import math

from lightning_dice.analysis.phrases import counted, figures, spoken
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
        return "Every roll is a discard: no update was made"
    mean = f"The mean scale is {figures(run.mean_scale)}"
    return mean if run.expected is None else f"{mean}, expected {figures(run.expected.mean)}"


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
