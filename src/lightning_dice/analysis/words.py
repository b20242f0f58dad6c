"""What the dice did in a run, in plain words that are strictly true to its numbers."""

from __future__ import annotations

import math

from lightning_dice.analysis.phrases import (
    NBSP,
    counted,
    figures,
    listed,
    percent,
    plural,
    short,
    whole,
)
from lightning_dice.analysis.rounding import rounding_error
from lightning_dice.analysis.run import Run, finite, number, section
from lightning_dice.rules import LOW_EFFICIENCY

UNUSUAL = 0.05
"""A p-value from which luck is called ordinary."""

_KINDS = {
    "discard": "discarded",
    "inverse": "reversed",
    "zero": "scaled to 0",
    "partial": "partial",
    "unchanged": "full",
    "amplified": "amplified",
}
_CONTROLS = {
    "plain": "it trained without dice, every update in full",
    "plain_mean": "it trained without dice, the learning rate times their mean scale, {factor}",
    "plain_rms": "it trained without dice, the learning rate times the root mean square of their "
    "scales, {factor}",
    "gaussian": "a Gaussian factor with their mean and mean square, as a die of many faces",
    "deck": "the same faces, dealt from a shuffled deck",
}
_ANSWERS = {
    "linear": "",  # the weights move by the scale
    "momentum": "{name} mixes past gradients into each step: the weights moved by a mixture of "
    "scales.",
    "rescales": "{name} rescales gradients by their own size: the weights moved by other factors.",
    "unknown": "What {name} makes of a scaled gradient is not known: the weights may have moved by "
    "other factors.",
}
"""How the weights answered to scaled gradients, by the response of the optimizer."""
NAMED = 4
"""Maximum number of kinds of optimizers of which each has a sentence."""
_SLOTS = {"param_group": "parameter group", "tensor": "tensor"}
_PARTS = {"param_group": "group", "tensor": "tensor"}
"""What of a gradient or an update one roll is for, where it is not the whole of it."""


def paragraph(run: Run) -> str:
    """One paragraph on the whole run.

    Every sentence stands on numbers that the run has; what it lacks is left out here and is among
    ``run.omissions``.
    """
    if run.without_dice:
        return " ".join(filter(None, (ending(run), arm(run), result(run))))
    sentences = (ending(run), arm(run), rolling(run), fates(run), rest(run), scale(run), luck(run))
    return " ".join(filter(None, (*sentences, signal(run), caution(run), result(run), cost(run))))


def ending(run: Run) -> str:
    """How the run ended, if it did not simply finish."""
    steps = "" if run.steps is None else f" after {counted(run.steps, 'step')}"
    if run.status == "failed":
        reason = last_line(str(run.summary.get("error") or ""))
        return f"The run failed{steps}{f' ({reason})' if reason else ''}."
    if run.status == "interrupted":
        return f"The run was interrupted{steps}."
    if run.status == "running":
        return f"The run had not ended when this was written{steps.replace('after', 'at')}."
    return ""


def arm(run: Run) -> str:
    """Which control this run is, if it is one."""
    name, of = run.control, section(run.part("control"), "of")
    if name not in _CONTROLS:
        return ""
    factor = number(run.part("control").get("lr_factor"))
    known = {"die", "threshold"} <= set(of)
    whose = f" for a {of['die']} against {of['threshold']}" if known else ""
    what = _CONTROLS[name].format(factor="another" if factor is None else figures(factor))
    return f"This run is a control{whose}: {what}."


def rolling(run: Run) -> str:
    """How often the die was rolled, and for what."""
    if not run.count:
        return "No rolls are on record, so there is nothing to say about the dice."
    dice = run.part("dice")
    die = f"A {dice['die']}" if "die" in dice else "The die"
    against = f" against a threshold of {dice['threshold']}" if "threshold" in dice else ""
    whose = f", one roll for {_rolled_for(run)}" if _noun(run) else ""
    return f"{die} was rolled {_times(run.count)}{against}{whose}."


def fates(run: Run) -> str:
    """Count what was scaled (gradients or updates) by the effect of its roll."""
    if not run.count:
        return ""
    if not len(run.rolls):
        given = {o.replace("_", " "): n for o, n in run.counts.items() if n}
        told = [f"{counted(n, o)} ({percent(n / run.count)})" for o, n in given.items()]
        return f"The outcomes were {listed(told)}."
    kinds, noun = run.rolls.kinds(), _scaled(run)
    if not noun:
        told = [f"{whole(n)} {_KINDS[k]} ({percent(n / run.count)})" for k, n in kinds.items() if n]
        return f"Their effects: {listed(told)}."
    if kinds["discard"] == run.count:
        every = f"Every {noun}" if run.count > 1 else f"The one {noun}"
        return f"{every} was discarded: the dice let nothing through."
    told = []
    for kind, n in kinds.items():
        if n and not told:
            were = "was" if n == 1 else "were"
            told.append(f"{counted(n, noun)} ({percent(n / run.count)}) {were} {_KINDS[kind]}")
        elif n:
            told.append(f"{whole(n)} ({percent(n / run.count)}) {_KINDS[kind]}")
    return f"{listed(told)}."


def rest(run: Run) -> str:
    """What became of the parameters that were not rolled for, if there are patterns of names."""
    if not run.filtered or not run.count:
        return ""
    return "Parameters that the patterns leave out were not rolled for, and trained as always."


def scale(run: Run) -> str:
    """State the observed scale beside the expected one."""
    if run.mean_scale is None:
        return ""
    observed = f"The observed scale was {figures(run.mean_scale)}"
    if run.expected is None:
        return f"{observed}."
    return f"{observed}, and the expected scale is {figures(run.expected.mean)}."


def luck(run: Run) -> str:
    """Whether the outcome counts are ordinary; a p-value and no more than it says."""
    p = run.luck
    if p is None or not run.count:
        return ""
    fair = f"fair dice stray at least this far from the odds in {_share_of_runs(p)}"
    if p >= UNUSUAL:
        return f"The luck was ordinary: {fair}."
    if p >= UNUSUAL / 50:
        return f"The luck was unusual: {fair}, which chance alone does bring about now and then."
    return (
        f"The luck was very unusual: {fair}, so it is worth checking that the rolls were made "
        "with the settings below."
    )


def signal(run: Run) -> str:
    """Say what the efficiency of the odds means for whatever was scaled."""
    odds = run.expected
    if odds is None:
        return ""
    nouns = plural(_scaled(run) or "roll")
    if odds.mean_square == 0:
        return "The odds leave no signal: no roll lets anything through."
    if odds.mean == 0:
        return "The odds leave no signal: scales above and below 0 cancel out."
    if odds.mean < 0:
        return "The odds push against training: the expected scale is below 0."
    if odds.efficiency >= 1:
        return f"Odds with an efficiency of 1 leave the signal of the {nouns} whole."
    kept = (
        f"keeping {figures(100 * odds.efficiency, 2)}{NBSP}% of the {nouns} and discarding the rest"
    )
    text = f"The odds leave about as much signal as {kept}"
    return (
        f"{text}, and with so little of it training rarely learns."
        if (odds.efficiency < LOW_EFFICIENCY)
        else f"{text}."
    )


def caution(run: Run) -> str:
    """Say what optimizers made of scaled gradients, where they do not just follow the scale."""
    if run.part("dice").get("target") != "gradient" or not run.count:
        return ""
    if not run.optimizers:
        told = ["What the optimizer made of the scaled gradients is not recorded."]
    elif len(run.optimizers) > NAMED:
        told = ["How far the weights moved depends on what each optimizer makes of them."]
    else:
        told = [_ANSWERS[answer].format(name=short(name)) for name, answer in run.optimizers]
    told = [sentence for sentence in told if sentence]
    return " ".join(["These are scales of gradients.", *told]) if told else ""


def result(run: Run) -> str:
    """What the task's metric came to, and how that stands against the baseline."""
    value = run.final(run.metric)
    if value is None:
        named = run.part("task").get("metric")
        return f"There is no {named} to report." if named else "No metric is on record."
    if math.isnan(value):
        return f"{run.metric} ended as NaN: training diverged."
    ended = "came to" if run.status == "finished" else "stood last at"
    came = f"{run.metric} {ended} {shown(run, run.metric, value)}"
    standing = against_baseline(run)
    if not standing:
        return f"{came}."
    better = "higher" if run.part("task").get("mode") == "max" else "lower"
    return f"{came}, {standing} ({better} is better)."


def cost(run: Run) -> str:
    """Return what the same seed came to without dice, where it was trained too."""
    value = finite(run.final(run.metric))
    plain = None if run.twin is None else finite(run.twin.final(run.metric))
    if value is None or plain is None:
        return ""
    shares = _is_share(run.metric, value) and _is_share(run.metric, plain)
    gap = abs(value - plain)
    far = f"{figures(100 * gap, 2)} percentage points" if shares else figures(gap, 2)
    side = "below" if value < plain else "above"
    standing = "level with that" if gap <= rounding_error(plain) else f"{far} {side} that"
    return (
        f"The same seed without dice came to {shown(run, run.metric, plain)}; dice are {standing}."
    )


def beats_baseline(run: Run) -> bool | None:
    """Whether the final metric is better than the baseline; ``None`` if level or not known."""
    value = finite(run.final(run.metric))
    if value is None or run.baseline is None or _level(value, run.baseline[1]):
        return None
    return (value > run.baseline[1]) == (run.part("task").get("mode") == "max")


def _level(value: float, base: float) -> bool:
    return abs(value - base) <= rounding_error(base)


def against_baseline(run: Run) -> str:
    """Where the final metric lies beside the baseline; empty where one of them is missing."""
    value = finite(run.final(run.metric))
    if value is None or run.baseline is None:
        return ""
    name, base = run.baseline
    if _level(value, base):
        return f"level with the {name} baseline"
    side, gap = ("below" if value < base else "above"), abs(value - base)
    share = _is_share(run.metric, value) and _is_share(run.metric, base)
    far = f"{figures(100 * gap, 2)} percentage points" if share else figures(gap, 2)
    of = percent(base) if share else figures(base)
    return f"{far} {side} the {name} baseline of {of}"


def shown(run: Run, metric: str, value: float) -> str:
    """A metric's value with its unit: an accuracy is a percentage, the task's metric has a unit."""
    if _is_share(metric, value):
        return percent(value)
    unit = str(run.part("task").get("unit") or "") if metric == run.metric else ""
    return f"{figures(value)} {unit}".strip()


def last_line(text: str) -> str:
    """The last line with something on it: of a traceback, the error itself."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")


def _noun(run: Run) -> str:
    """What one roll decides about; empty where a run without settings does not say."""
    nouns = {"per_mini_batch": "mini-batch", "per_accumulation_step": "update"}
    return nouns.get(str(run.part("dice").get("granularity")), "")


def _scaled(run: Run) -> str:
    """What one scale multiplies; empty where a run without settings does not say."""
    noun, target = _noun(run), run.part("dice").get("target")
    if not noun or target not in ("gradient", "update"):
        return ""
    if noun == "mini-batch":
        return "mini-batch gradient"
    return " ".join(filter(None, [_PARTS.get(run.scope), target]))


def _rolled_for(run: Run) -> str:
    whose = "the gradient of " if run.part("dice").get("target") == "gradient" else ""
    several = len({optimizer for optimizer, _slot in run.rolls.places})
    of = f" of {several} optimizers" if several > 1 else ""
    if run.scope not in _PARTS:
        return f"{whose}each {_noun(run)}{of}"
    slots, part = len(run.rolls.places), _SLOTS[run.scope]
    each = f"each of {counted(slots, part)}" if slots > 1 else f"each {part}"
    return f"{whose}{each}{of} at each {_noun(run)}"


def _share_of_runs(p: float) -> str:
    if p == 1:
        return "every such run"
    if p < 0.001 or p > 0.99:
        return f"{'under 0.1' if p < 0.5 else 'over 99'}{NBSP}% of such runs"
    return f"{figures(100 * p, 2)}{NBSP}% of such runs"


def _times(n: int) -> str:
    return "once" if n == 1 else f"{whole(n)} times"


def _is_share(metric: str, value: float) -> bool:
    return metric.endswith("accuracy") and 0 <= value <= 1
