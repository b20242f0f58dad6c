"""The headline: what was run, and what was found, in a few sentences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from lightning_dice.analysis.facts import NONE, Headline
from lightning_dice.analysis.phrases import counted, listed, whole
from lightning_dice.analysis.sweep.arms import DICE
from lightning_dice.analysis.sweep.labels import cell
from lightning_dice.analysis.sweep.results import Results, Summary
from lightning_dice.analysis.sweep.statistics import BETTER, NO_TEST, OPEN, UNCONFIRMED, WORSE


def headline(results: Results) -> str:
    """Two to four sentences, one for each target among them."""
    targets = dict.fromkeys(results.sweep.arms[row.arm].target for row in _dice(results))
    found = [_found(results, target, len(targets) > 1) for target in targets]
    return " ".join(filter(None, [_ran(results), *found, _missing(results)]))


def title(results: Results) -> str:
    """What was swept."""
    values = [context.values for context in results.sweep.contexts]
    tasks = dict.fromkeys((str(value["model"]), str(value["data"])) for value in values)
    named = [f"{model} on {data}" for model, data in tasks if model and data]
    return f"A sweep of {listed(named)}" if 0 < len(named) < 4 else "A sweep"


def numbers(results: Results) -> list[Headline]:
    """The five numbers of the block at the top."""
    dice = _dice(results)
    of = f"of {counted(len(dice), 'arm')} with dice"
    kinds = {kind: [r for r in dice if _against_plain(results, r) == kind] for kind in _KINDS}
    shown = {kind: str(len(rows)) if any(kinds.values()) else NONE for kind, rows in kinds.items()}
    unlearned = sum(row.learned is False for row in kinds[WORSE])
    earned = sum(
        credit.earned
        for row in kinds[BETTER]
        if (credit := results.credit(row.context, row.arm)) is not None
    )
    left_out = sum(one.is_run for one in results.sweep.left_out)
    return [
        Headline("runs", whole(len(results.sweep.runs)), f"{whole(left_out)} left out"),
        Headline("seeds", _seeds(results), "of each arm"),
        Headline(
            "better than plain",
            shown[BETTER],
            f"{earned} by the dice's own doing" if kinds[BETTER] else of,
        ),
        Headline(
            "worse than plain",
            shown[WORSE],
            f"{unlearned} of them did not learn" if unlearned else of,
        ),
        Headline(
            "not told apart",
            shown[OPEN],
            f"from plain; {len(kinds[UNCONFIRMED])} not confirmed"
            if kinds[UNCONFIRMED]
            else "from plain",
        ),
    ]


_KINDS = (BETTER, WORSE, UNCONFIRMED, OPEN)


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


def _found(results: Results, target: str, several: bool) -> str:
    """What became of the dice with one target."""
    rows = [row for row in _dice(results) if results.sweep.arms[row.arm].target == target]
    who = f"With target {target}, " if several and target else ""
    judged = [row for row in rows if row.learned is not None]
    learned = [row for row in judged if row.learned]
    if not judged:
        start = f"{who}{counted(len(rows), 'arm')} rolled dice"
    elif not learned:
        did = (
            "the one arm with dice did not learn"
            if len(judged) == 1
            else "no arm with dice learned"
        )
        return _capital(f"{who}{did}.")
    else:
        part = f"{len(learned)} of {len(judged)}"
        some = _all(len(judged), "arm") if learned == judged else f"{part} arms"
        start = f"{who}{some} with dice learned"
    rows = learned or rows
    found = Counter(_against_plain(results, row) for row in rows)
    told = [(found[kind], kind) for kind in _KINDS if found[kind]]
    if not told:
        return _capital(f"{start}; none could be compared with plain.")
    what = {
        BETTER: f"better than plain{_whose(results, rows)}",
        WORSE: "worse than plain",
        UNCONFIRMED: "differ from plain, which is not confirmed",
        OPEN: "be told apart from plain",
    }
    if told[0][0] == len(rows):
        kind = told[0][1]
        return _capital(f"{start}; {_EVERY[kind][min(len(rows), 3)]} {what[kind]}.")
    parts = [f"{count} {_verb(kind, count)} {what[kind]}" for count, kind in told]
    return _capital(f"{start}; {'of these ' if learned else ''}{listed(parts)}.")


def _verb(kind: str, count: int) -> str:
    if kind in (BETTER, WORSE):
        return "was" if count == 1 else "were"
    return "may" if kind == UNCONFIRMED else "cannot"


_ALL_WERE = {1: "it was", 2: "both were", 3: "all were"}
_EVERY = {
    BETTER: _ALL_WERE,
    WORSE: _ALL_WERE,
    UNCONFIRMED: {1: "it may", 2: "both may", 3: "all may"},
    OPEN: {1: "it cannot", 2: "neither can", 3: "none can"},
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


def _missing(results: Results) -> str:
    there = [results.controls(context) for context in range(len(results.sweep.contexts))]
    dice = _dice(results)
    if not dice:
        return "No arm rolls dice."
    if not any(there):
        return (
            "There are no controls: nothing to hold the dice against, so no claim that they help."
        )
    if not all("plain" in controls for controls in there):
        where = "There" if len(there) == 1 else "In some contexts there"
        return f"{where} is no plain arm, so whether dice help over plain training cannot be said."
    if all(row.n + row.diverged < 2 for row in dice):
        return "With one seed for each arm no comparison is possible."
    return ""


def _dice(results: Results) -> list[Summary]:
    return [
        row for row in results.summaries.values() if results.sweep.arms[row.arm].control == DICE
    ]


def _against_plain(results: Results, row: Summary) -> str:
    compared = results.compared.get((row.context, row.arm), {}).get("plain")
    return NO_TEST if compared is None else compared.finding


def _seeds(results: Results) -> str:
    runs = [row.n + row.diverged for row in results.summaries.values()]
    return str(min(runs)) if min(runs) == max(runs) else f"{min(runs)} to {max(runs)}"


def _all(count: int, noun: str) -> str:
    return {1: f"the one {noun}", 2: f"both {noun}s"}.get(count, f"all {count} {noun}s")


def _capital(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]
