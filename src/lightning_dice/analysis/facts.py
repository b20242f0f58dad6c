"""The report's numbers in rows: what the page lays out, without any layout."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, NamedTuple

import numpy as np

from lightning_dice.analysis.binomial import binomial_interval
from lightning_dice.analysis.phrases import NBSP, counted, duration, figures, percent, whole
from lightning_dice.analysis.readers import OUTCOMES
from lightning_dice.analysis.run import Run, finite, number
from lightning_dice.analysis.style import LOOKS
from lightning_dice.analysis.words import UNUSUAL, beats_baseline, shown

NONE = "\N{EN DASH}"
"""Stands where a run has no number."""

_MEANINGS = {
    "per_accumulation_step": "rolled for every update",
    "per_mini_batch": "rolled for every mini-batch",
    "gradient": "a roll scales what the optimizer sees",
    "update": "a roll scales what the optimizer does to the weights",
    "model": "one roll for the whole model",
    "param_group": "one roll for each of the optimizer's parameter groups",
    "tensor": "one roll for each parameter tensor",
    "margin": "a failure reverses by how far it falls short",
    "proportional": "a failure reverses by its total",
    "skip": "a failure is discarded",
    "reference": "the factors of the public Roll-to-Train code",
    "deck": "faces are dealt from a shuffled deck, not rolled",
    "mean": "scales are divided by their mean",
    "rms": "scales are divided by their root mean square",
}


HEADLINES = 5
"""Maximum number of values in the block at the top."""
MANY = 20
"""Factors of a table up to which each is listed."""

_PATTERNS = {
    "include": "only parameters with such names are rolled for",
    "exclude": "parameters with such names are not rolled for",
}


class Headline(NamedTuple):
    """One number of the block at the top: what it is, its value, what to hold it against."""

    label: str
    value: str
    note: str


class Setting(NamedTuple):
    """One setting, its value, and what that means."""

    name: str
    value: str
    meaning: str


class OddsRow(NamedTuple):
    """What the odds expect of one quantity, and what was rolled; ``colour`` marks outcomes."""

    name: str
    expected: str
    rolled: str
    usual: str
    colour: str


def title(run: Run) -> str:
    """Say what was trained on what, or with what; the folder's name where that is not known."""
    task = run.part("task")
    model, data, optimizer = task.get("model"), task.get("data"), task.get("optimizer")
    if not model:
        return run.name
    if data:
        return f"{model} on {data}"
    return f"{model} with {optimizer}" if optimizer else str(model)


def subtitle(run: Run) -> list[str]:
    """Status, start, duration, steps and seed, as far as they are known."""
    wall, seed = finite(run.summary.get("wall_time")), run.summary.get("seed")
    facts = [
        run.status if run.summary else "",
        _moment(run.summary.get("started")),
        "" if wall is None else duration(wall),
        "" if run.steps is None else counted(run.steps, "step"),
        "" if seed is None else f"seed {seed}",
    ]
    return [fact for fact in facts if fact]


def headlines(run: Run) -> list[Headline]:
    """The numbers that a reader looks for first: five, or as many as are known."""
    tiles = (*_results(run), *_dice(run), *_counts(run))
    return [tile for tile in tiles if tile.value][:HEADLINES]


def _results(run: Run) -> list[Headline]:
    value, base = run.final(run.metric), run.baseline
    verdict = {True: "beaten", False: "not reached", None: ""}[beats_baseline(run)]
    return [
        Headline(
            run.metric,
            "" if value is None else shown(run, run.metric, value).partition(" ")[0],
            str(run.part("task").get("unit") or ""),
        ),
        Headline(
            "baseline",
            "" if base is None else shown(run, run.metric, base[1]).partition(" ")[0],
            "" if base is None else ", ".join(filter(None, [base[0], verdict])),
        ),
        *_twin(run),
    ]


def _dice(run: Run) -> list[Headline]:
    odds = run.expected
    return [
        Headline(
            "observed scale",
            "" if run.mean_scale is None else figures(run.mean_scale),
            "" if odds is None else f"expected {figures(odds.mean)}",
        ),
        Headline(
            "efficiency", "" if odds is None else figures(odds.efficiency, 2), "1 without dice"
        ),
        Headline(
            "luck",
            "" if run.luck is None else _p(run.luck),
            "ordinary" if run.luck is not None and run.luck >= UNUSUAL else "unusual",
        ),
    ]


def _counts(run: Run) -> list[Headline]:
    """What stands in for numbers that a run does not have."""
    return [
        Headline("steps", "" if run.steps is None else whole(run.steps), "of the optimizer"),
        Headline("rolls", whole(run.count) if run.count else "", "on record"),
    ]


def settings(run: Run) -> list[Setting]:
    """Everything that was chosen for this run, in words where a value has one meaning."""
    dice = [(name, value) for name, value in run.part("dice").items()]
    task = [(name, run.part("task").get(name)) for name in ("data", "model", "optimizer")]
    return [_setting(name, value) for name, value in (*dice, *task) if value is not None]


def odds_rows(run: Run) -> list[OddsRow]:
    """Outcome by outcome what was expected, rolled, and usual in 95 % of runs."""
    return [_outcome_row(run, place) for place in range(len(OUTCOMES))]


def scale_rows(run: Run) -> list[OddsRow]:
    """What the scales were expected to be, and were."""
    rolls, n = run.rolls, len(run.rolls)
    kinds = {kind: count / n if n else None for kind, count in rolls.kinds().items()}
    forward = float(np.mean(rolls.scale > 0)) if n else None
    square = float(np.mean(rolls.factors**2)) if n else None
    quantities: list[tuple[str, str, float | None, Callable[[float], str]]] = [
        ("discarded", "discard", kinds["discard"], percent),
        ("reversed (scale below 0)", "inverse", kinds["inverse"], percent),
        ("scale above 0", "forward", forward, percent),
        ("mean, E[s]", "mean", run.mean_scale, figures),
        ("mean square, E[s\u00b2]", "mean_square", square, figures),
    ]
    return [
        OddsRow(
            name,
            NONE if run.expected is None else form(getattr(run.expected, expected)),
            NONE if seen is None else form(seen),
            usual="",
            colour="",
        )
        for name, expected, seen, form in quantities
    ]


def versions(run: Run) -> list[tuple[str, str]]:
    """What the run was made with."""
    return [(str(name), str(version)) for name, version in run.part("versions").items()]


def other_metrics(run: Run) -> list[tuple[str, str]]:
    """Every final metric of the summary."""
    given = ((str(name), number(value)) for name, value in run.part("metrics").items())
    return [(name, shown(run, name, value)) for name, value in given if value is not None]


def _twin(run: Run) -> list[Headline]:
    """The number of the plain twin, where there is one."""
    value = None if run.twin is None else run.twin.final(run.metric)
    if run.twin is None or value is None:
        return []
    unfinished = "" if run.twin.status == "finished" else f", {run.twin.status}"
    note = f"the same seed without dice{unfinished}"
    return [Headline("plain training", shown(run, run.metric, value).partition(" ")[0], note)]


def _setting(name: str, value: Any) -> Setting:
    if name in _PATTERNS:
        patterns = value if isinstance(value, list) else [value]
        return Setting(name, ", ".join(map(str, patterns)), _PATTERNS[name])
    known = _MEANINGS.get(value, "") if isinstance(value, str) else ""
    return Setting(name, _value(value), known)


def _outcome_row(run: Run, place: int) -> OddsRow:
    outcome = OUTCOMES[place]
    count, n = run.counts[outcome], run.count
    rolled = f"{whole(count)} ({percent(count / n)})" if n else NONE
    if run.expected is None:
        return OddsRow(outcome.replace("_", " "), NONE, rolled, NONE, LOOKS[outcome].colour)
    p = run.expected.probability[outcome]
    low, high = binomial_interval(n, p)
    return OddsRow(
        outcome.replace("_", " "),
        f"{figures(n * p)} ({percent(p)})" if n else percent(p),
        rolled,
        f"{whole(low)} to {whole(high)}" if n else NONE,
        LOOKS[outcome].colour,
    )


def _p(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {figures(p, 2)}"


def _moment(started: object) -> str:
    try:
        moment = datetime.fromisoformat(str(started))
    except ValueError:
        return ""
    return f"{moment.day} {moment:%B %Y, %H:%M} {moment.tzname() or ''}".strip()


def _value(value: Any) -> str:
    if isinstance(value, str) or not isinstance(value, Iterable):
        return str(value)
    if len(given := [x for x in map(number, value) if x is not None]) > MANY:
        return f"{len(list(value))} factors, {figures(min(given))} to {figures(max(given))}"
    factors = [
        NONE if x is None else figures(x) if number(x) is not None else str(x) for x in value
    ]
    return ", ".join(factors) + f" (by face; {NONE}{NBSP}discards)"
