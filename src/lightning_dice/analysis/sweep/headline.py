"""The headline: what was run, and what was found, in a few sentences."""

from __future__ import annotations

from collections.abc import Sequence

from lightning_dice.analysis.facts import NONE, Headline
from lightning_dice.analysis.phrases import counted, listed, whole
from lightning_dice.analysis.sweep.failures import failures
from lightning_dice.analysis.sweep.labels import cell
from lightning_dice.analysis.sweep.results import Results, Summary
from lightning_dice.analysis.sweep.standing import (
    NOT_LEARNED,
    TESTED,
    dice_rows,
    pairs_with_plain,
    standing,
    standings,
)
from lightning_dice.analysis.sweep.statistics import (
    BETTER,
    MIN_SEEDS,
    NO_TEST,
    OPEN,
    TOO_FEW,
    UNCONFIRMED,
    WORSE,
)


def headline(results: Results) -> str:
    """Return what was found and then what was run, in a few sentences."""
    told = [*failures(results), *_found(results), *_missing(results), *_diverged(results)]
    return " ".join([*told, _ran(results)])


def title(results: Results) -> str:
    """What was swept."""
    values = [context.values for context in results.sweep.contexts]
    tasks = dict.fromkeys((str(value["model"]), str(value["data"])) for value in values)
    named = [f"{model} on {data}" for model, data in tasks if model and data]
    return f"A sweep of {listed(named)}" if 0 < len(named) < 4 else "A sweep"


def numbers(results: Results) -> list[Headline]:
    """Return the numbers of the block at the top; those after the third add up to the third."""
    dice = dice_rows(results)
    kinds = {kind: [row for row in dice if standing(results, row) == kind] for kind in _TILES}
    some = any(kinds[kind] for kind in TESTED)
    of = f"of {counted(len(dice), 'arm')} with dice"
    earned = sum(
        credit.earned
        for row in kinds[BETTER]
        if (credit := results.credit(row.context, row.arm)) is not None
    )
    left_out = sum(one.is_run for one in results.sweep.left_out)

    def tile(label: str, rows: Sequence[Summary], hint: str) -> Headline:
        """A count of what was tested; a 0 where nothing was would be a finding."""
        return Headline(label, *((str(len(rows)), hint) if some else (NONE, "not tested")))

    return [
        Headline("runs", whole(len(results.sweep.runs)), f"{whole(left_out)} left out"),
        Headline("seeds", _seeds(results), "of each arm"),
        Headline("arms with dice", whole(len(dice)), "each counts once below"),
        tile(
            "better than plain",
            kinds[BETTER],
            f"{earned} by the dice's own doing" if kinds[BETTER] else of,
        ),
        tile(
            "level with plain",
            kinds[OPEN] + kinds[UNCONFIRMED],
            f"{len(kinds[UNCONFIRMED])} may differ, not confirmed"
            if kinds[UNCONFIRMED]
            else "cannot be told apart",
        ),
        tile("worse than plain", kinds[WORSE], "though they learned" if kinds[WORSE] else of),
        Headline(NOT_LEARNED, *_not_learned(kinds[NOT_LEARNED], dice)),
        _without_verdict(kinds[TOO_FEW], kinds[NO_TEST]),
    ]


_TILES = (*TESTED, NOT_LEARNED, TOO_FEW, NO_TEST)


def _not_learned(failed: Sequence[Summary], dice: Sequence[Summary]) -> tuple[str, str]:
    unjudged = sum(row.learned is None for row in dice)
    if unjudged and unjudged == len(dice):
        return NONE, "no baseline to judge by"
    return str(len(failed)), "too little above the baseline"


def _without_verdict(few: Sequence[Summary], rest: Sequence[Summary]) -> Headline:
    if not rest:
        return Headline(TOO_FEW, str(len(few)), f"{MIN_SEEDS} or more are needed")
    also = f"{len(few)} with too few seeds, " if few else ""
    return Headline(
        "no verdict", str(len(few) + len(rest)), f"{also}{len(rest)} not comparable with plain"
    )


def _ran(results: Results) -> str:
    sweep = results.sweep
    arms = counted(len(results.summaries), "arm")
    contexts = len(sweep.contexts)
    where = "" if contexts == 1 else f" in {contexts} contexts"
    optimizers = dict.fromkeys(cell(context.values["optimizer"]) for context in sweep.contexts)
    by = f" with {listed(list(optimizers))}" if any(optimizers) and len(optimizers) < 5 else ""
    measures = dict.fromkeys(context.measure for context in sweep.contexts)
    judged = listed([f"{m.spoken} ({m.better} is better)" for m in measures])
    runs, most = counted(len(sweep.runs), "run"), _seeds(results)
    return (
        f"{runs} counted{by}: {arms}{where}, {most} {'seed' if most == '1' else 'seeds'} each, "
        f"judged by {judged} at the end."
    )


def _found(results: Results) -> list[str]:
    """What became of the dice that did not fail to learn: a sentence per target."""
    dice = dice_rows(results)
    rest = [row for row in dice if standing(results, row) != NOT_LEARNED]
    if rest and all(standing(results, row) == TOO_FEW for row in rest):
        seeds = pairs_with_plain(results, rest)
        what = (
            "nothing else can be said"
            if len(rest) < len(dice)
            else "it cannot be said whether dice are better or worse than plain training"
        )
        return [f"With {seeds} {what}; {MIN_SEEDS} or more are needed."]
    targets = dict.fromkeys(results.sweep.arms[row.arm].target for row in dice)
    return [
        _target(results, [row for row in dice if results.sweep.arms[row.arm].target == target], who)
        for target in targets
        if any(results.sweep.arms[row.arm].target == target for row in rest)
        for who in [f"With target {target}, " if len(targets) > 1 and target else ""]
    ]


def _target(results: Results, rows: Sequence[Summary], who: str) -> str:
    """What became of the dice with one target, of which some may have learned."""
    rest = [row for row in rows if standing(results, row) != NOT_LEARNED]
    if any(row.learned for row in rows):
        part = _all(len(rows), "arm") if rest == rows else f"{len(rest)} of {len(rows)} arms"
        start = f"{who}{part} with dice learned"
    else:
        start = f"{who}{counted(len(rows), 'arm')} rolled dice"
    found = standings(results, rest)
    told = [(found[kind], kind) for kind in (*TESTED, TOO_FEW) if found[kind]]
    if not told:
        return _capital(f"{start}; none could be compared with plain.")
    what = {
        BETTER: f"better than plain{_whose(results, rest)}",
        WORSE: "worse than plain",
        UNCONFIRMED: "differ from plain, which is not confirmed",
        OPEN: "be told apart from plain",
        TOO_FEW: "too few seeds to say",
    }
    if told[0][0] == len(rest) == len(rows):
        kind = told[0][1]
        return _capital(f"{start}; {_EVERY[kind][min(len(rest), 3)]} {what[kind]}.")
    parts = [f"{count} {_verb(kind, count)} {what[kind]}" for count, kind in told]
    return _capital(f"{start}; of these {listed(parts)}.")


def _verb(kind: str, count: int) -> str:
    if kind in (BETTER, WORSE):
        return "was" if count == 1 else "were"
    if kind == TOO_FEW:
        return "has" if count == 1 else "have"
    return "may" if kind == UNCONFIRMED else "cannot"


_ALL_WERE = {1: "it was", 2: "both were", 3: "all were"}
_EVERY = {
    BETTER: _ALL_WERE,
    WORSE: _ALL_WERE,
    UNCONFIRMED: {1: "it may", 2: "both may", 3: "all may"},
    OPEN: {1: "it cannot", 2: "neither can", 3: "none can"},
    TOO_FEW: {1: "it has", 2: "both have", 3: "all have"},
}


def _whose(results: Results, rows: Sequence[Summary]) -> str:
    given = [results.credit(row.context, row.arm) for row in rows]
    gains = [credit for credit in given if credit is not None]
    earned = sum(credit.earned for credit in gains)
    if earned == len(gains):
        return " and than every control"
    if earned:
        return f" ({earned} of them than every control, too)"
    if all(credit.unbeaten for credit in gains):
        return " but not than every control, so not by the dice's own doing"
    return " (not held against every control, so not credited to the dice)"


def _missing(results: Results) -> list[str]:
    there = [results.controls(context) for context in range(len(results.sweep.contexts))]
    if not dice_rows(results):
        return ["No arm rolls dice."]
    if not any(there):
        return [
            "There are no controls: nothing to hold the dice against, so no claim that they help."
        ]
    if not all("plain" in controls for controls in there):
        where = "There" if len(there) == 1 else "In some contexts there"
        return [
            f"{where} is no plain arm, so whether dice help over plain training cannot be said."
        ]
    return []


def _diverged(results: Results) -> list[str]:
    """That means leave out runs; nothing of arms that have no mean."""
    rows = [row for row in dice_rows(results) if row.diverged and row.n]
    if not rows:
        return []
    lost, runs = sum(row.diverged for row in rows), sum(row.n + row.diverged for row in rows)
    return [f"{lost} of {runs} runs with dice diverged; no mean includes them."]


def _seeds(results: Results) -> str:
    runs = [row.n + row.diverged for row in results.summaries.values()]
    return str(min(runs)) if min(runs) == max(runs) else f"{min(runs)} to {max(runs)}"


def _all(count: int, noun: str) -> str:
    return {1: f"the one {noun}", 2: f"both {noun}s"}.get(count, f"all {count} {noun}s")


def _capital(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]
