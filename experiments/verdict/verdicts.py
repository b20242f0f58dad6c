"""What the protocol's words come to: where dice help, harm, or do nothing."""

from __future__ import annotations

from typing import Any

import pandas as pd
from arms import PLAIN, named, regularisers
from compare import STOPPED, is_dice, metric_of
from stages import BEST, LONGER

HELP, HARM, NOTHING, UNDECIDED = "dice help", "dice harm", "dice do nothing", "undecided"
SMALL = {-1: 0.02, 1: 0.005}
"""What has to have shown before dice do nothing: in nats, and in accuracy, by the metric's sign."""


def verdicts(arms: pd.DataFrame, compared: pd.DataFrame) -> pd.DataFrame:
    """A row for each regime and base optimizer: the word, and what it rests on.

    Args:
        arms: As ``tables`` gives it, as is the other.
        compared: The table of comparisons.

    Returns:
        ``regime``, ``base``, ``verdict``; of the best three dice in tuning how many are ``better``
        and how many ``worse`` than plain, and the largest difference that ``would show``; and
        which dice are ``helping``: those that fulfil what the protocol asks for in this regime.
    """
    lines = []
    for (regime, base), own in compared.groupby(["regime", "base"], sort=False):
        there = arms[(arms["regime"] == regime) & (arms["base"] == base)].set_index("arm")
        words = own.set_index(["arm", "against"])["word"].to_dict()
        dice = [name for name in there.index if _is_dice_alone(name)]
        best = [words[name, PLAIN.name] for name in dice[:BEST]]
        to_plain = own[own["against"] == PLAIN.name].set_index("arm")
        lines.append(
            {
                "regime": regime,
                "base": base,
                "better": best.count("better"),
                "worse": best.count("worse"),
                "would show": to_plain.loc[dice[:BEST], "would show"].max(),
                "helping": ", ".join(name for name in dice if _helps(name, there, words)),
            }
        )
    helped = {(line["regime"], line["base"]) for line in lines if line["helping"]}
    table = pd.DataFrame(lines)
    table.insert(2, "verdict", [_word(line, helped) for line in lines])
    return table


def _is_dice_alone(name: str) -> bool:
    arm = named(name)
    return is_dice(arm) and not arm.dropout


def _helps(name: str, arms: pd.DataFrame, words: dict[tuple[str, str], str]) -> bool:
    rivals = [other for other in arms.index if named(other) in regularisers()]
    return (
        words[name, PLAIN.name] == "better"
        and not arms.loc[name, "on the edge"]
        and all(words[name, other] != "worse" for other in (*rivals, STOPPED))
    )


def _word(line: dict[str, Any], helped: set[tuple[str, str]]) -> str:
    regime = line["regime"]
    longer = [name for name, short in LONGER.items() if short == regime]
    if all((name, line["base"]) in helped for name in (regime, *longer)):
        return HELP
    if line["worse"] == BEST:
        return HARM
    told_apart = line["better"] or line["worse"]
    if not told_apart and line["would show"] <= SMALL[metric_of(regime).sign]:
        return NOTHING
    return UNDECIDED
