"""What was rolled against what the odds expect."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lightning_dice.analysis.binomial import binomial_interval
from lightning_dice.analysis.messages import outcomes_message
from lightning_dice.analysis.phrases import figures, whole
from lightning_dice.analysis.readers import OUTCOMES
from lightning_dice.analysis.run import Run
from lightning_dice.analysis.style import INK, LOOKS, blank, entitle, say


def outcomes(run: Run) -> Figure:
    """Bars of how often each outcome was rolled, and the counts that the odds expect."""
    figure, axes = blank(3.7)
    entitle(axes, outcomes_message(run))
    axes.set_ylabel("rolls")
    if not run.count:
        say(axes, "no rolls are on record")
        axes.set_xticks([])
        return figure
    labels = []
    for place, outcome in enumerate(OUTCOMES):
        look, count = LOOKS[outcome], run.counts[outcome]
        axes.bar(place, count, 0.62, color=look.colour, hatch=look.hatch, edgecolor="white")
        label = f"{outcome.replace('_', ' ')}\n{whole(count)} rolled"
        if run.expected is not None:
            label += f"\n{figures(run.count * run.expected.probability[outcome])} expected"
        labels.append(label)
    axes.set_xticks(range(len(OUTCOMES)), labels)
    axes.tick_params(axis="x", length=0)
    if run.expected is not None:
        _draw_expected(axes, run.count, [run.expected.probability[o] for o in OUTCOMES])
        figure.legend(loc="outside lower center")
    axes.set_ylim(bottom=0)
    return figure


def _draw_expected(axes: Axes, count: int, chances: list[float]) -> None:
    expected = [count * p for p in chances]
    intervals = [binomial_interval(count, p) for p in chances]
    below = [e - low for e, (low, _) in zip(expected, intervals, strict=True)]
    above = [high - e for e, (_, high) in zip(expected, intervals, strict=True)]
    axes.errorbar(
        range(len(chances)),
        expected,
        yerr=[below, above],
        fmt="D",
        color=INK,
        markerfacecolor="white",
        markersize=5,
        capsize=5,
        linewidth=1.3,
        clip_on=False,
        label="expected, with the range of 95 % of runs",
    )
