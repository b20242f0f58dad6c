"""What a run's folder may say to the classes of this package."""

import inspect

import pytest

from lightning_dice.app.known_classes import DATA, MODELS, known
from lightning_dice.rules import SettingError


@pytest.mark.parametrize("one", [*MODELS, *DATA], ids=lambda one: one.made.__name__)
def test_every_setting_of_a_class_has_a_limit(one):
    settings = set(inspect.signature(one.made).parameters) - {"optimizer"}
    assert {*one.most, *one.files, *one.folders} == settings


@pytest.mark.parametrize("group", ["model", "data"])
@pytest.mark.parametrize(
    "name",
    [
        *["os.system", "torch.load", "builtins.eval", "", "ImageClassifier", "Digits"],
        *["lightning_dice.app.models.cnn.torch.load", "lightning_dice.app.models.gpt.GPT"],
        *["lightning_dice.app.data.digits.FashionMNIST", "lightning_dice.app.models.base.Task"],
    ],
)
def test_other_names_are_unknown(group, name):
    assert known(group, name) is None


def test_a_class_is_known_in_its_own_group_by_either_of_its_names():
    for name in ("lightning_dice.app.data.Digits", "lightning_dice.app.data.digits.Digits"):
        assert known("data", name).made.__name__ == "Digits"
        assert known("model", name) is None


@pytest.mark.parametrize(
    ("name", "settings", "words"),
    [
        ("Digits", {"batch_size": 10**7}, r"data.batch_size=10000000: expected at most 1e\+06"),
        ("Digits", {"batch_size": -(10**7)}, "expected at most"),
        ("Digits", {"val_fraction": float("nan")}, "data.val_fraction=nan: expected at most 1"),
        ("Digits", {"val_fraction": "0.2"}, "data.val_fraction='0.2': expected a number"),
        ("Digits", {"batch_size": True}, "data.batch_size=True: expected a number"),
        ("Digits", {"batch_size": [1]}, "data.batch_size=.*: expected a number"),
        ("Digits", {"path": "x"}, "data.path='x': is no setting of Digits"),
        ("FashionMNIST", {"path": ["x"]}, "data.path=.*: expected a number"),
        ("RottenTomatoes", {"tokenizer": "x"}, "is read only if you name its class: --"),
    ],
)
def test_settings_out_of_bounds_are_refused(name, settings, words):
    one = next(one for one in DATA if one.made.__name__ == name)
    with pytest.raises(SettingError, match=words):
        one.check("data", settings)


def test_settings_within_bounds_pass():
    by_name = {one.made.__name__: one for one in (*MODELS, *DATA)}
    by_name["Digits"].check("data", {"batch_size": 32, "val_fraction": 0.2, "label_noise": 0})
    by_name["FashionMNIST"].check("data", {"rows": None, "path": "/somewhere"})
    by_name["RottenTomatoes"].check("data", {"tokenizer": None, "path": None})
    by_name["ReviewClassifier"].check("model", {"encoder": None, "dropout": None})
