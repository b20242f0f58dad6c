"""The verdict: for each family of dice what may be said of it, and no more."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from typing import NamedTuple

from lightning_dice.analysis.phrases import counted, listed
from lightning_dice.analysis.sweep.arms import CONTROLS, NAMES
from lightning_dice.analysis.sweep.phrasing import (
    against,
    at,
    kind_of,
    spell_out_points,
    stretches,
)
from lightning_dice.analysis.sweep.results import Credit, Family, Results
from lightning_dice.analysis.sweep.statistics import MIN_SEEDS, TOO_FEW


class Verdict(NamedTuple):
    """What there is to say of one family.

    Attributes:
        heading: Its context and name; empty where the sweep has but one.
        opening: Whether it learned; whole sentences.
        points: What each control says, and whose a gain is; whole sentences each.
    """

    heading: str
    opening: str
    points: tuple[str, ...]


def verdicts(results: Results) -> list[Verdict]:
    """The verdict on each family of dice; a context that has none says so."""
    told = []
    for context, name in enumerate(results.labels.contexts):
        families = [family for family in results.families if family.context == context]
        if not families:
            told.append(Verdict(name, "No arm rolls dice here; see the table of arms.", ()))
        for family in families:
            heading = results.labels.together(context, _name(results, family))
            opening = [
                _diverged(results, family),
                *_learning(results, family),
                _nothing_to_hold_against(results, family),
            ]
            points = [*_comparisons(results, family), " ".join(_credits(results, family))]
            text = " ".join(filter(None, opening))
            told.append(Verdict(heading, text, tuple(filter(None, points))))
    return _with_points_spelt_out(told)


def _name(results: Results, family: Family) -> str:
    """A family's name, with its threshold where it has only one and others have others."""
    alone = results.labels.threshold(results.sweep.arms[family.arms[0]])
    parts = [results.labels.family(family.arm), alone if len(family.arms) == 1 else ""]
    return ", ".join(filter(None, parts))


def _sentence(results: Results, family: Family, arms: Sequence[int], rest: str) -> str:
    """A sentence on some arms of a family; it names their thresholds if there are others."""
    if len(family.arms) == 1:
        return f"{rest[0].upper()}{rest[1:]}."
    return f"{at([results.sweep.arms[arm].threshold for arm in arms])} {rest}."


def _with_points_spelt_out(told: Sequence[Verdict]) -> list[Verdict]:
    texts = iter(spell_out_points([text for verdict in told for text in verdict.points]))
    return [verdict._replace(points=tuple(next(texts) for _ in verdict.points)) for verdict in told]


def _diverged(results: Results, family: Family) -> str:
    rows = [results.summaries[family.context, arm] for arm in family.arms]
    bad = [row for row in rows if row.diverged]
    if not bad:
        return ""
    lost, runs = sum(row.diverged for row in bad), sum(row.n + row.diverged for row in bad)
    ended = f"{lost} of {counted(runs, 'run')} with dice ended without a value: training diverged"
    these = "that arm" if len(bad) == 1 else "those arms"
    flattery = f"Means leave them out, which flatters {these}."
    if len(bad) > 2:  # they need not be neighbours
        return f"At {len(bad)} thresholds {ended}. {flattery}"
    return f"{_sentence(results, family, [row.arm for row in bad], ended)} {flattery}"


def _learning(results: Results, family: Family) -> list[str]:
    """Where dice learned, and where they did not, whether their controls did."""

    def state(arm: int) -> tuple[bool | None, _Others]:
        learned = results.summaries[family.context, arm].learned
        return learned, () if learned is not False else _others(results, family.context, arm)

    sentences = []
    for (learned, others), arms in stretches(family.arms, state):
        told = _not_learned(others) if learned is False else "dice learned"
        if learned is None:
            told = "it cannot be said whether dice learned"
        sentences.append(_sentence(results, family, arms, told))
    return sentences


_Others = tuple[tuple[str, bool | None], ...]


def _others(results: Results, context: int, arm: int) -> _Others:
    """Whether each control of an arm learned; plain is what learning is measured by."""
    there = [
        (control, results.summary(context, results.sweep.arms[arm].counterpart(control)))
        for control in CONTROLS[1:]
    ]
    return tuple((control, found.learned) for control, found in there if found is not None)


def _not_learned(others: _Others) -> str:
    did = [NAMES[control] for control, learned in others if learned]
    did_not = [NAMES[control] for control, learned in others if learned is False]
    if not did and not did_not:
        return "dice did not learn"
    if not did:
        return "no arm learned: neither dice nor " + listed(did_not).replace(" and ", " nor ")
    rest = f", and {listed(did_not)} did not" if did_not else ""
    return f"dice did not learn; {listed(did)} did{rest}"


def _nothing_to_hold_against(results: Results, family: Family) -> str:
    controls = results.controls(family.context)
    if not controls:
        return (
            "There are no controls: nothing to hold the dice against, so no claim that they help."
        )
    if "plain" not in controls:
        return "There is no plain arm: whether dice help over plain training cannot be said."
    return ""


def _comparisons(results: Results, family: Family) -> list[str]:
    """What every control says; of arms that did not learn, nothing that is not said already."""
    arms = [arm for arm in family.arms if _may_have_learned(results, family, arm)]
    rows = [row for arm in arms for row in results.compared.get((family.context, arm), {}).values()]
    if rows and all(row.finding == TOO_FEW for row in rows):
        most = counted(max(row.n for row in rows), "seed")
        return [f"With {most} no comparison is possible; {MIN_SEEDS} or more are needed."]
    return [" ".join(_against(results, family, arms, control)) for control in CONTROLS]


def _against(results: Results, family: Family, arms: Sequence[int], control: str) -> Iterator[str]:
    measure = results.context(family.context).measure
    given = {arm: results.compared.get((family.context, arm), {}).get(control) for arm in arms}
    found = {arm: row for arm, row in given.items() if row is not None}

    def kind(arm: int) -> Hashable:
        return kind_of(found[arm]) if arm in found else None

    for what, together in stretches(family.arms, kind):
        told = against(measure, control, what, [found[arm] for arm in together])
        yield _sentence(results, family, together, told)


def _may_have_learned(results: Results, family: Family, arm: int) -> bool:
    return results.summaries[family.context, arm].learned is not False


def _credits(results: Results, family: Family) -> list[str]:
    """Of gains over plain, whose they are."""
    found = stretches(family.arms, lambda arm: results.credit(family.context, arm))
    return [_sentence(results, family, arms, _credited(credit)) for credit, arms in found]


def _credited(credit: Credit) -> str:
    if credit.earned:
        return "dice beat every control, too, so the gain over plain is the dice's own"
    if credit.unbeaten:
        unbeaten = listed([NAMES[control] for control in credit.unbeaten])
        return (
            f"the gain over plain is not credited to the dice: they did not beat {unbeaten}, "
            "which may explain it as well"
        )
    missing = listed([NAMES[control] for control in credit.missing])
    return (
        f"the gain over plain cannot be credited to the dice without {missing} to hold it against"
    )
