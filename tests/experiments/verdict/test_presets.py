"""Presets of the app train what the study's rows say."""

import csv

import pytest
from arms import named
from hydra.core.global_hydra import GlobalHydra
from regimes import REGIMES
from tables import RESULTS

from lightning_dice.app.build import build_dice, build_task
from support.composing import compose_train

PRESETS = {
    "scarce_text": ("manual", "adamw", "t5-skip-tensor-update-hidden"),
    "many_passes": ("manual_long", "rmsprop", "t10-skip-tensor-update-hidden"),
    "scarce_images": ("fashion", "adamw", "t5-margin-tensor-update-hidden"),
    "wrong_labels": ("fashion_noisy", "adamw", "t5-margin-model-update-all"),
}


@pytest.fixture(autouse=True)
def _no_hydra_is_left():
    yield
    GlobalHydra.instance().clear()


def rate(regime, base, arm):
    with (RESULTS / "tables" / "arms.csv").open(newline="") as file:
        own = {"regime": regime, "base": base, "arm": arm}
        return next(float(row["lr"]) for row in csv.DictReader(file) if own.items() <= row.items())


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_an_arm_at_its_rate(name):
    regime, arm = REGIMES[PRESETS[name][0]], named(PRESETS[name][2])
    config = compose_train(f"experiment={name}")
    assert config.optimizer.lr == rate(*PRESETS[name])
    assert (config.trainer.max_steps, config.data.batch_size) == (regime.steps, regime.batch)
    dice = build_dice(config)
    assert dice.throw == arm.throw
    assert (dice.settings["target"], dice.settings["scope"]) == (arm.target, arm.scope)
    model, _ = build_task(config)
    parameters = dict(model.named_parameters())
    chosen = [dice.choices.chosen(name) for name in parameters]
    hidden = set(regime.network.hidden) if arm.include == "hidden" else None
    layout = regime.network.layout
    expected = layout.chosen(hidden)
    assert sorted(p.shape for p in parameters.values()) == sorted(layout.shapes)
    assert sum(chosen) == sum(expected)
    assert sorted(p.shape for p, own in zip(parameters.values(), chosen, strict=True) if own) == (
        sorted(shape for shape, own in zip(layout.shapes, expected, strict=True) if own)
    )
