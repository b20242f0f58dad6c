"""One saving throw, one seed, one result: in Lightning, Fabric, HuggingFace and a plain loop."""

import itertools

import pytest

from adapters.loops import LOOPS, SEED, THROW, Case
from lightning_dice.rules import Roller
from support.by_hand import apart

SCOPES = {
    "model": {},
    "param_group": {"scope": "param_group"},
    "tensor": {"scope": "tensor"},
    "weights": {"scope": "tensor", "include": ["net.*.weight"], "exclude": ["net.2.*"]},
}
ROUNDS = {
    "clipped": {"clip": 0.3},
    "accumulated": {"accumulate": 3},
    "both": {"accumulate": 2, "clip": 0.3},
}
CASES = {
    f"{target}-{scope}-{how}": Case({"target": target, **SCOPES[scope]}, **ROUNDS[how])
    for target, scope, how in itertools.product(("gradient", "update"), SCOPES, ROUNDS)
    if how != "both" or scope == "weights"
}
CASES |= {
    f"per_mini_batch-{accumulate}": Case({"granularity": "per_mini_batch"}, accumulate)
    for accumulate in (1, 3)
}
# The last, as accelerate keeps a precision for all that a process trains.
CASES["update-bf16"] = Case({"target": "update"}, precision="bf16-mixed")


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_the_same_rolls_to_the_last_and_the_same_weights(case, tmp_path):
    results = {name: loop(case, tmp_path) for name, loop in LOOPS.items()}
    expected = results["lightning"]
    for name, result in results.items():
        assert result.rolls == expected.rolls, name
        assert apart(result.weights, expected.weights) <= 1e-6, name
    roller = Roller(THROW, SEED)
    mini = case.dice.get("granularity") == "per_mini_batch"
    for record in expected.rolls:
        assert record.roll == roller.roll(record.batch if mini else record.step, record.slot)
    assert {record.natural for record in expected.rolls} > {1, 8}, (
        "a discard and a critical success"
    )
