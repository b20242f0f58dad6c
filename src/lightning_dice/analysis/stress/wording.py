"""The page in words: what was measured, and what may be said of it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Hashable, Iterator
from typing import NamedTuple

from lightning_dice.analysis.facts import NONE, Headline
from lightning_dice.analysis.phrases import counted, listed, whole
from lightning_dice.analysis.stress.gather import Stress
from lightning_dice.analysis.stress.parts import Part
from lightning_dice.analysis.sweep.arms import CONTROLS, DICE, NAMES
from lightning_dice.analysis.sweep.phrasing import (
    against,
    at,
    kind_of,
    spell_out_points,
    stretches,
)
from lightning_dice.analysis.sweep.results import Comparison, Family
from lightning_dice.analysis.sweep.statistics import (
    BETTER,
    MIN_SEEDS,
    NO_TEST,
    OPEN,
    TOO_FEW,
    UNCONFIRMED,
    WORSE,
)

_TESTED = (BETTER, WORSE, UNCONFIRMED, OPEN)
_SAID = {
    OPEN: "cannot be told apart",
    UNCONFIRMED: "may differ, which is not confirmed",
    TOO_FEW: "with too few seeds to say",
}
NAMED = 3
"""Most measures that a sentence names."""


class Said(NamedTuple):
    """What there is to say of one measure, whole sentences."""

    heading: str
    points: tuple[str, ...]


def title(stress: Stress) -> str:
    """What was put under stress."""
    values = [context.values for context in stress.sweep.contexts]
    tasks = dict.fromkeys((str(value["model"]), str(value["data"])) for value in values)
    named = [f"{model} on {data}" for model, data in tasks if model and data]
    return f"Stress test of {listed(named)}" if 0 < len(named) < NAMED else "Stress test"


def lead(stress: Stress) -> str:
    """What was measured and what was found, in a few sentences."""
    compared = [_against(stress, control) for control in controls(stress)]
    found = [sentence for sentence in compared if sentence] or [_no_comparison(stress)]
    alone = _values(stress) if len(stress.sweep.runs) == 1 else ""
    return " ".join(filter(None, [_measured(stress), alone, *found]))


def numbers(stress: Stress) -> list[Headline]:
    """The numbers of the block at the top: of one run its values, of several their comparisons."""
    if len(stress.sweep.runs) == 1:
        return [
            Headline(part.measure.metric, part.measure.value(row["mean"]), _direction(part))
            for part, (_, row) in zip(stress.tested, stress.results.arms.iterrows(), strict=True)
        ][:5]
    control = next(iter(controls(stress)), "plain")
    counts = Counter(row.finding for _, row in rows_against(stress, control))
    some = any(counts[finding] for finding in _TESTED)

    def shown(finding: str) -> str:
        """A count of what was tested; a 0 where nothing was would be a finding."""
        return whole(counts[finding]) if some else NONE

    seeds = stress.sweep.runs["seed"].nunique()
    of = f"of {counted(sum(counts.values()), 'comparison')}"
    name = NAMES[control].removeprefix("the ")
    return [
        Headline("runs", whole(len(stress.sweep.runs)), f"{whole(len(stress.records))} measured"),
        Headline("seeds", whole(seeds), "in all"),
        Headline("better or flatter", shown(BETTER), f"than {name}, {of}"),
        Headline("worse or sharper", shown(WORSE), f"than {name}, {of}"),
        _not_told_apart(counts) if some else _too_few(counts),
    ]


def _not_told_apart(counts: Counter[str]) -> Headline:
    few = f", {whole(counts[TOO_FEW])} with too few seeds" if counts[TOO_FEW] else ""
    return Headline(
        "not told apart",
        whole(counts[OPEN]),
        f"{whole(counts[UNCONFIRMED])} more not confirmed{few}",
    )


def _too_few(counts: Counter[str]) -> Headline:
    return Headline(TOO_FEW, whole(counts[TOO_FEW]), f"{MIN_SEEDS} or more are needed")


def controls(stress: Stress) -> list[str]:
    """The controls that dice are held against, in their order."""
    there = {name for rows in stress.results.compared.values() for name in rows}
    return [control for control in CONTROLS if control in there]


def rows_against(stress: Stress, control: str) -> list[tuple[Part, Comparison]]:
    """Every comparison of dice with one control, and what it is of."""
    return [
        (stress.tested[context], rows[control])
        for (context, _), rows in stress.results.compared.items()
        if control in rows
    ]


def notes(stress: Stress) -> list[str]:
    """What changes how everything else is to be read."""
    told = Counter(
        text for record in stress.records.values() for text in (*record.notes, *record.omissions)
    )
    alone = len(stress.records) == 1
    return [text if alone else f"{text} ({counted(n, 'run')})" for text, n in told.most_common()]


def said(stress: Stress) -> list[Said]:
    """What may be said of each measure; nothing where all have too few seeds, as the lead says."""
    compared = [row for rows in stress.results.compared.values() for row in rows.values()]
    if all(row.finding == TOO_FEW for row in compared):
        return []
    found = []
    for place, part in enumerate(stress.tested):
        families = [one for one in stress.results.families if one.context == place]
        points = [text for family in families for text in _points(stress, part, family)]
        if points:
            heading = ", ".join(filter(None, [part.name, part.measure.spoken]))
            found.append(Said(f"{heading[0].upper()}{heading[1:]}", tuple(points)))
    texts = iter(spell_out_points([text for one in found for text in one.points]))
    return [one._replace(points=tuple(next(texts) for _ in one.points)) for one in found]


def in_words(part: Part, text: str) -> str:
    """A sentence on better and worse in the measure's own words.

    Example:
        >>> from lightning_dice.analysis.stress.parts import FLAT
        >>> sharpness = Part("", None, FLAT, {}, None)
        >>> in_words(sharpness, "dice may be better than plain")
        'dice may be flatter than plain'
    """
    own = dict(zip((BETTER, WORSE), part.words, strict=True))
    return re.sub(
        r"(?<=dice )(were|may be) (better|worse)(?= than)",
        lambda match: f"{match[1]} {own[match[2]]}",
        text,
    )


def _points(stress: Stress, part: Part, family: Family) -> Iterator[str]:
    results = stress.results
    name = results.labels.family(family.arm)
    for control in CONTROLS:
        given = {
            arm: results.compared.get((family.context, arm), {}).get(control) for arm in family.arms
        }
        found = {arm: row for arm, row in given.items() if row is not None}

        def kind(arm: int, found: dict[int, Comparison] = found) -> Hashable:
            return kind_of(found[arm]) if arm in found else None

        for what, arms in stretches(family.arms, kind):
            text = in_words(part, against(part.measure, control, what, [found[a] for a in arms]))
            thresholds = [results.sweep.arms[arm].threshold for arm in arms]
            where = [name, at(thresholds).lower() if len(family.arms) > 1 else ""]
            before = ", ".join(filter(None, where))
            sentence = f"{before}: {text}." if before else f"{text}."
            yield f"{sentence[0].upper()}{sentence[1:]}"


def _measured(stress: Stress) -> str:
    runs, arms = len(stress.sweep.runs), len({*stress.sweep.runs["arm"]})
    seeds = stress.sweep.runs["seed"].nunique()
    n = len(stress.records)
    if not n:
        return (
            f"{counted(runs, 'run')} of {counted(arms, 'arm')} and {counted(seeds, 'seed')}, none "
            "of which could be measured; only what training came to is compared."
        )
    examples = {record.examples for record in stress.records.values()}
    on = f" on {whole(min(examples))} validation examples" if len(examples) == 1 else ""
    if runs == 1:
        return f"One run was measured{on}."
    of = "" if n == runs else f" of {whole(runs)}"
    return (
        f"{whole(n)}{of} runs were measured{on}: {counted(arms, 'arm')}, {counted(seeds, 'seed')}."
    )


def _values(stress: Stress) -> str:
    rows = zip(stress.tested, stress.results.arms["mean"], strict=True)
    told = [f"{part.measure.metric} {part.measure.value(value)}" for part, value in rows]
    text = listed(told)
    return f"{text[0].upper()}{text[1:]}."


def _against(stress: Stress, control: str) -> str:
    rows = [(part, row) for part, row in rows_against(stress, control) if row.finding != NO_TEST]
    if all(row.finding == TOO_FEW for _, row in rows):
        return ""
    alone = len(rows) == len({part.measure for part, _ in rows})
    kinds: dict[str, list[str]] = {}
    order = (*_TESTED, TOO_FEW)
    for part, row in sorted(rows, key=lambda pair: order.index(pair[1].finding)):
        word = dict(zip((BETTER, WORSE), part.words, strict=True)).get(row.finding, row.finding)
        kinds.setdefault(word, []).append(part.measure.spoken)
    told = [
        f"{whole(len(names))} {_SAID.get(word, word)}"
        + (f" ({listed(names)})" if alone and len(names) <= NAMED else "")
        for word, names in kinds.items()
    ]
    return f"Dice beside {NAMES[control]}: of {counted(len(rows), 'comparison')}, {listed(told)}."


def _no_comparison(stress: Stress) -> str:
    arms = {stress.sweep.arms[arm].control for arm in stress.sweep.runs["arm"]}
    if len(stress.sweep.runs) == 1:
        return "With one run there is nothing to hold these values against."
    if DICE not in arms:
        return "No arm rolls dice, so there is nothing to compare."
    if arms == {DICE}:
        return "There are no controls, so it cannot be said whether dice are the reason."
    pairs = [row.n for rows in stress.results.compared.values() for row in rows.values()]
    most = counted(max(pairs), "seed") if any(pairs) else "no seed"
    return (
        f"Dice and controls have {most} in common: nothing can be said of how they compare; "
        f"{MIN_SEEDS} or more are needed."
    )


def _direction(part: Part) -> str:
    return f"{part.measure.better} is {part.words[0]}"
