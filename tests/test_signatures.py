"""What a person chooses has one name and one default, wherever it can be chosen."""

import inspect
from dataclasses import fields

import pytest

from lightning_dice import DiceLightningModule, SavingThrow, SavingThrowCallback
from lightning_dice.adapters.huggingface import DiceTrainerMixin, SavingThrowTrainerCallback
from lightning_dice.adapters.torch_loop import attach
from lightning_dice.app.schema import DiceConfig, SavingThrowConfig
from lightning_dice.choices import Choices
from support.composing import compose_train

CHOSEN = {field.name: field.default for field in fields(Choices) if field.init}
OWN = {
    SavingThrowCallback: {"changes": ()},
    attach: {"changes": (), "model": None, "scaler": None, "folder": None, "ordinal": 0},
    SavingThrowTrainerCallback: {"changes": (), "ordinal": 0},
}
"""What each of them takes besides: nothing that another one calls by another name."""


def defaults(function):
    parameters = inspect.signature(function).parameters.values()
    return {p.name: p.default for p in parameters if p.default is not p.empty}


@pytest.mark.parametrize("function", OWN, ids=lambda function: function.__name__)
def test_whoever_rolls_takes_all_choices_with_the_same_defaults(function):
    expected = {**CHOSEN, "throw": None, **OWN[function]}
    if function is not SavingThrowCallback:
        del expected["skip_discarded"]  # only Lightning's Trainer can leave out a forward pass
    assert defaults(function) == expected


def test_whoever_brings_the_callback_along_leaves_all_else_to_it():
    assert defaults(DiceLightningModule) == {"saving_throw": None, "seed": None}
    assert defaults(DiceTrainerMixin) == {"saving_throw": None, "dice_seed": None}


def test_the_schema_has_the_names_of_the_callback_and_of_the_throw():
    taken = inspect.signature(SavingThrowCallback).parameters.keys()
    # A deck is one of the application's controls, which have a setting of their own.
    assert {field.name for field in fields(DiceConfig)} == taken - {"throw", "draws"}
    taken = inspect.signature(SavingThrow).parameters
    assert [field.name for field in fields(SavingThrowConfig)] == list(taken)


def test_the_configuration_has_the_defaults_of_the_library():
    config = compose_train()
    assert dict(config.saving_throw) == defaults(SavingThrow)
    for name, value in config.dice.items():
        # The application scales updates, and has a seed for everything.
        if value is not None and name not in ("target", "seed"):
            assert value == CHOSEN[name], name
