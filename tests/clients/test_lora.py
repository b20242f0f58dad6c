"""HuggingFace's Trainer with LoRA: only the adapters move, as in a loop that is written by hand."""

import json
from pathlib import Path

import pytest

from support.by_hand import KINDS
from support.packages import install, run

pytest.importorskip("transformers")
pytestmark = pytest.mark.long

SCRIPT = Path(__file__).parent / "scripts" / "lora.py"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    environment = install(tmp_path_factory.mktemp("peft"), "peft")
    done = run([SCRIPT, tmp_path_factory.mktemp("runs")], env=environment)
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("kind", KINDS)
def test_the_adapters_move_as_the_dice_say_and_nothing_else_does(trained, kind):
    found = trained[kind]
    assert found["scales"] == found["expected"]
    assert found["apart"] <= 1e-5
    assert found["moved"] == found["trained"]
    assert any("lora_B" in name for name in found["moved"])
    assert not any("base_layer" in name for name in found["moved"])
