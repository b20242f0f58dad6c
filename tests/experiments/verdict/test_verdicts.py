"""The protocol's words, on tables made up for each of them."""

import pandas as pd
import pytest
from stages import STANDING
from verdicts import HARM, HELP, NOTHING, UNDECIDED, verdicts

BEST = ("t5-skip-model-update-all", "t5-margin-model-update-all", "t10-skip-model-update-all")
LEVEL, BETTER, WORSE = "cannot be told apart", "better", "worse"


def part(regime, words, shows=0.001, edge=(), behind=(), base="adamw"):
    """Arms and comparisons of one place: ``words`` of the best three and T against plain."""
    dice = dict(zip((*BEST, STANDING), words, strict=True))
    names = ["plain", "dropout-0.1", *dice, f"{BEST[0]}+dropout-0.1"]
    arms = pd.DataFrame(
        {"regime": regime, "base": base, "arm": name, "on the edge": name in edge} for name in names
    )
    lines = [(name, "plain", word) for name, word in dice.items()]
    lines += [("dropout-0.1", "plain", BETTER), (names[-1], "plain", BETTER)]
    for name in dice:
        for other in ("dropout-0.1", "plain, stopped early"):
            lines.append((name, other, WORSE if other in behind else LEVEL))
    compared = pd.DataFrame(lines, columns=["arm", "against", "word"])
    return arms, compared.assign(regime=regime, base=base, **{"would show": shows})


def told(*parts):
    arms, compared = (pd.concat(tables) for tables in zip(*parts, strict=True))
    table = verdicts(arms, compared)
    return dict(zip(table["regime"], table["verdict"], strict=True)), table


@pytest.mark.parametrize(
    ("words", "given", "expected"),
    [
        ([LEVEL] * 4, {"shows": 0.005}, NOTHING),
        ([LEVEL] * 3 + [WORSE], {"shows": 0.005}, NOTHING),
        ([LEVEL] * 4, {"shows": 0.0051}, UNDECIDED),
        ([WORSE, WORSE, WORSE, LEVEL], {}, HARM),
        ([WORSE, WORSE, LEVEL, WORSE], {}, UNDECIDED),
        ([LEVEL, BETTER, WORSE, LEVEL], {}, HELP),
        ([LEVEL, LEVEL, LEVEL, BETTER], {}, HELP),
        ([LEVEL, BETTER, LEVEL, LEVEL], {"edge": [BEST[1]]}, UNDECIDED),
        ([LEVEL, BETTER, LEVEL, LEVEL], {"behind": ["dropout-0.1"]}, UNDECIDED),
        ([LEVEL, BETTER, LEVEL, LEVEL], {"behind": ["plain, stopped early"]}, UNDECIDED),
    ],
)
def test_words(words, given, expected):
    assert told(part("fashion", words, **given))[0] == {"fashion": expected}


def test_small_is_another_thing_on_text():
    assert told(part("source", [LEVEL] * 4, shows=0.02))[0] == {"source": NOTHING}
    assert told(part("source", [LEVEL] * 4, shows=0.0201))[0] == {"source": UNDECIDED}


def test_what_helps_with_few_passes_has_to_with_many():
    helping, level = [BETTER, LEVEL, LEVEL, LEVEL], [LEVEL] * 4
    short = part("manual", helping)
    assert told(short)[0] == {"manual": UNDECIDED}
    assert told(short, part("manual_long", level, shows=1.0))[0]["manual"] == UNDECIDED
    assert told(short, part("manual_long", helping))[0] == {"manual": HELP, "manual_long": HELP}
    assert told(short, part("manual_long", helping, base="rmsprop"))[0]["manual"] == UNDECIDED


def test_it_says_what_it_rests_on():
    _, table = told(part("fashion", [BETTER, WORSE, LEVEL, BETTER], shows=0.003))
    (row,) = table.to_dict("records")
    assert (row["better"], row["worse"], row["would show"]) == (1, 1, 0.003)
    assert row["helping"] == f"{BEST[0]}, {STANDING}", "dice with dropout are not dice alone"
