"""What the page says first: which optimizer withstands most, where each breaks, and how surely."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lightning_dice.analysis.facts import Headline
from lightning_dice.analysis.phrases import NBSP, counted, listed, whole
from lightning_dice.analysis.sweep.report import left_out_line
from lightning_dice.analysis.sweep.statistics import MIN_SEEDS
from lightning_dice.analysis.tolerance.layout import plain_mean
from lightning_dice.analysis.tolerance.rows import BreakdownRow, breakdown_rows, scores
from lightning_dice.analysis.tolerance.study import Tolerance
from lightning_dice.analysis.tolerance.texts import share, span, threshold

NAMED = 6
"""Most optimizers that a sentence names one by one."""
APART = 0.05
"""How far apart plain results must be, as a share of them, before that is said."""


def title(study: Tolerance) -> str:
    """What was tested."""
    values = study.sweep.contexts[study.subjects[0].context].values
    task = f": {values['model']} on {values['data']}" if values["model"] and values["data"] else ""
    return f"Tolerance of {counted(len(study.subjects), 'optimizer')}{task}"


def lead(study: Tolerance) -> str:
    """Which optimizer withstands most, and where each breaks."""
    return " ".join(filter(None, [_most(study), _breaks(study)]))


def numbers(study: Tolerance) -> list[Headline]:
    """The five numbers of the block at the top."""
    arms = {arm for family in study.families for arm in family.arms}
    thresholds = {study.sweep.arms[arm].threshold for arm in arms}
    return [
        Headline(
            "runs", whole(len(study.trials)), f"of {whole(len(study.sweep.runs))} that finished"
        ),
        Headline("optimizers", str(len(study.subjects)), "each beside its own plain"),
        Headline("families of dice", str(len(study.families)), "such as targets or scalings"),
        Headline("thresholds", str(len(thresholds)), "from mild to harsh"),
        Headline("seeds", str(study.seeds), "paired with plain"),
    ]


def notes(study: Tolerance) -> list[str]:
    """What changes how everything else is to be read."""
    told = []
    diverged = int(study.curves["diverged"].sum())
    if diverged:
        told.append(
            f"{counted(diverged, 'run')} diverged and ended without a value; "
            f"{'it counts' if diverged == 1 else 'they count'} as having kept nothing."
        )
    if not study.has_shares:
        told.append(
            f"{study.measure.metric} is not above 0 in every run, so shares of what plain reaches "
            "cannot be told: there are breakdown thresholds, but neither areas nor a ranking."
        )
    else:
        told += [*_plain_notes(study), *_ranking_notes(study)]
    mixed = [name for name, found in study.sweep.versions.items() if len(found) > 1]
    if mixed:
        told.append(f"The runs were made with several versions of {listed(mixed)}.")
    if study.sweep.left_out:
        told.append(left_out_line(study.sweep))
    return told


def names(study: Tolerance, subjects: Sequence[int]) -> str:
    """Names in one sentence; where one has a comma itself, semicolons part them."""
    told = [study.subjects[subject].name for subject in subjects]
    if len(told) > NAMED:
        told = [*told[: NAMED - 1], f"{len(told) - NAMED + 1} more"]
    if any("," in name for name in told) and len(told) > 1:
        return f"{'; '.join(told[:-1])}; and {told[-1]}"
    return listed(told)


def _plain_notes(study: Tolerance) -> list[str]:
    """That keeping much of little is easy, where plain training ends far apart."""
    plain = [plain_mean(study, subject) for subject in range(len(study.subjects))]
    low, high = np.nanmin(plain), np.nanmax(plain)
    if low >= (1 - APART) * high:
        return []
    return [
        f"Plain training ends at {study.measure.span(float(low), float(high))}, and each optimizer "
        "is held against its own: one that reaches less has less to lose."
    ]


def _ranking_notes(study: Tolerance) -> list[str]:
    table, told = study.ranking.table, []
    if not len(table):
        return ["There is no ranking: no seed has the areas of one family for every optimizer."]
    unranked = set(range(len(study.subjects))) - set(table["subject"])
    if unranked:
        told.append(f"Without an area, and so without a rank: {names(study, sorted(unranked))}.")
    seeds = int(table["n"].iloc[0])
    if seeds < study.seeds:
        told.append(
            f"The ranking stands on {counted(seeds, 'seed')} of {study.seeds}: those of which "
            "no ranked optimizer lacks a run."
        )
    apart = [f for f in range(len(study.families)) if f not in study.ranking.families]
    if apart:
        told.append(
            "Not all optimizers have these families, which the ranking leaves out: "
            f"{'; '.join(study.family_name(family) for family in apart)}."
        )
    return told


def _most(study: Tolerance) -> str:
    ranked = list(scores(study).values())
    if not ranked:
        return ""
    best, worst, count = ranked[0], ranked[-1], len(ranked)
    first = [row for row in ranked if row.best_rank == 1]
    who = names(study, [row.subject for row in first])
    of = "of what plain training reaches, averaged over all dice"
    kept = span(min(row.mean for row in first), max(row.mean for row in first))
    sure = span(best.ci_low, best.ci_high)
    interval = "" if np.isnan(best.ci_low) else f" (95{NBSP}% CI {sure})"
    if count == 1:
        return f"{who} kept {kept}{interval} {of}."
    if best.n < MIN_SEEDS:
        return (
            f"With {counted(best.n, 'seed')} no ranks can be told apart; {MIN_SEEDS} or more are "
            f"needed. {names(study, [best.subject])} kept most, {share(best.mean)} {of}; "
            f"{names(study, [worst.subject])} least, {share(worst.mean)}."
        )
    if len(first) == count:
        return (
            f"Which optimizer withstands most cannot be said: no two of the {count} can be told "
            f"apart. They kept {kept} {of}."
        )
    if len(first) > 1:
        return (
            f"{len(first)} of {count} optimizers share the first rank, as none is confirmed to "
            f"keep more than they do: {who}. They kept {kept} {of}."
        )
    below = count - best.worst_rank
    than = f"{below} of the {count - 1} others" if below < count - 1 else "each of the others"
    than = "the other" if count == 2 else than
    return (
        f"{who} withstands most: it kept {kept}{interval} {of}, confirmed to be more than {than}."
    )


def _breaks(study: Tolerance) -> str:
    rows = breakdown_rows(study)
    order = [subject for subject in study.order if any(key[0] == subject for key in rows)]
    if not order:
        return "No breakdown threshold is known."
    told, tail = order, ""
    if len(order) > NAMED:
        half = NAMED // 2
        told = [*order[:half], *order[-half:]]
        tail = f" (the first {half} and the last {half} of {len(order)})"
    several = len(study.families) > 1
    parts = [
        f"{study.subjects[subject].name} "
        f"{_range([row for key, row in rows.items() if key[0] == subject])}"
        for subject in told
    ]
    families = f", from one of {len(study.families)} families of dice to another" if several else ""
    return (
        f"The last threshold withstood, ending within {study.within.spoken(study.measure)} of "
        f"plain{families}: {'; '.join(parts)}{tail}."
    )


def _range(rows: Sequence[BreakdownRow]) -> str:
    ordered = sorted(rows, key=lambda row: row.mean)
    low, high = threshold(ordered[0]), threshold(ordered[-1])
    return low if low == high else f"{low} to {high}"
