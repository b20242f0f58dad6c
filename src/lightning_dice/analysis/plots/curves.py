"""What was learnt: loss and accuracy over the optimizer steps, with the rolls under them."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from lightning_dice.analysis.messages import accuracy_message, loss_message
from lightning_dice.analysis.phrases import short
from lightning_dice.analysis.plots.strip import draw_strip
from lightning_dice.analysis.readers import Series
from lightning_dice.analysis.run import Run
from lightning_dice.analysis.style import BLUE, FAINT, GREEN, GREY, INK, blank, entitle, say, thin
from lightning_dice.analysis.words import shown

SMOOTH = 100
"""Training points from which their mean is drawn over them."""
WIDE = 100
"""Largest loss over the smallest from which the axis is logarithmic: a run that blew up would
otherwise flatten everything else."""


def loss(run: Run) -> Figure:
    """Training and validation loss, the baseline, and the rolls on the same axis of steps."""
    figure, (top, bottom) = blank(4.7, nrows=2, sharex=True, height_ratios=[3, 1.15])
    drawn = _curves(top, run, "loss")
    unit = run.part("task").get("unit") if run.metric.endswith("loss") else None
    top.set_ylabel(f"loss ({short(str(unit))})" if unit else "loss", parse_math=False)
    values = np.concatenate([[], *(np.asarray(line.get_ydata(), float) for line in top.lines)])
    low, high = values.min(initial=np.inf), values.max(initial=0)
    if low > 0 and high / low > WIDE:
        top.set_yscale("log")
    if not drawn:
        say(top, "no loss was logged")
    entitle(top, loss_message(run))
    draw_strip(bottom, run.rolls)
    bottom.set_xlabel("optimizer step")
    return figure


def accuracy(run: Run) -> Figure:
    """Training and validation accuracy, and the baseline where it is one."""
    figure, axes = blank(3.2)
    _curves(axes, run, "accuracy")
    axes.set_ylabel("accuracy")
    if all(0 <= y <= 1 for line in axes.lines for y in line.get_ydata()):
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=None, symbol=" %"))
    axes.set_xlabel("optimizer step")
    entitle(axes, accuracy_message(run))
    return figure


def _curves(axes: Axes, run: Run, kind: str) -> bool:
    """Draw the curves of one kind of metric; whether there were any."""
    names = (f"train_{kind}", f"train_{kind}_step", f"train_{kind}_epoch")
    train = next((run.metrics[n].finite for n in names if n in run.metrics), None)
    if train is not None and len(train.step):
        _draw_train(axes, train)
    val = run.metrics[f"val_{kind}"].finite if f"val_{kind}" in run.metrics else None
    if val is not None and len(val.step):
        marks = "o" if len(val.step) <= 40 else None
        axes.plot(*_thinned(val), color=INK, marker=marks, markersize=4, label="validation")
    plain = run.twin.metrics.get(f"val_{kind}") if run.twin else None
    if plain is not None and len(plain.finite.step):
        label = "validation of the same seed without dice"
        axes.plot(*_thinned(plain.finite), color=BLUE, linestyle="-.", label=label)
    drawn = bool(axes.lines)
    if run.baseline is not None and run.metric.endswith(kind):
        name, value = run.baseline
        label = f"baseline: {short(name)}, {short(shown(run, run.metric, value))}"
        axes.axhline(value, color=GREEN, linewidth=1.4, linestyle=(0, (1, 1)), label=label)
    if axes.lines:
        for text in axes.legend(loc="best").get_texts():
            text.set_parse_math(False)
    return drawn


def _draw_train(axes: Axes, train: Series) -> None:
    n = len(train.step)
    if n < SMOOTH:
        marks = "." if n <= 40 else None
        axes.plot(*train, color=GREY, linewidth=1, marker=marks, linestyle="--", label="training")
        return
    axes.plot(*_thinned(train), color=FAINT, linewidth=0.6)
    bins = [(part.start, part.stop) for part in _parts(n, 50)]
    middle = [float(train.step[a:b].mean()) for a, b in bins]
    mean = [float(train.value[a:b].mean()) for a, b in bins]
    axes.plot(middle, mean, color=GREY, linestyle="--", label="training (mean of 1/50 of the run)")


def _thinned(series: Series) -> Series:
    keep = thin(len(series.step))
    return Series(series.step[keep], series.value[keep])


def _parts(n: int, parts: int) -> list[range]:
    edges = [round(i * n / parts) for i in range(parts + 1)]
    return [range(a, b) for a, b in pairwise(edges)]
