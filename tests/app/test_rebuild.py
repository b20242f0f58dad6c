"""A run's folder names no code that runs: whatever its config.yaml says, a canary lives."""

import pickle
import re
import shlex
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from click.testing import CliRunner

from lightning_dice.app import commands
from lightning_dice.app.commands import Given
from lightning_dice.app.rebuild import Named, read_config
from lightning_dice.app.trained import load_trained
from lightning_dice.cli import main
from lightning_dice.rules import SettingError

pytestmark = pytest.mark.timeout(120)
TARGET = "_target_"


class Runs:
    """What a pickle of a stranger may hold."""

    def __init__(self, canary):
        self.canary = canary

    def __reduce__(self):
        return Path.touch, (self.canary,)


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A run of six steps, never changed; made once."""
    return tmp_path_factory.mktemp("runs") / "kept"


@pytest.fixture
def victim(kept, run, tmp_path, monkeypatch):
    """A copy of a run beside two payloads, where a command is given; nothing of it may run."""
    if not kept.exists():
        run()
        shutil.copytree(tmp_path / "run", kept)
    folder = tmp_path / "there" / "victim"
    shutil.copytree(kept, folder)
    canary = tmp_path / "there" / "canary"
    (folder / "payload.bin").write_bytes(pickle.dumps(Runs(canary)))
    torch.save(Runs(canary), folder / "payload.pt")
    monkeypatch.chdir(folder.parent)
    monkeypatch.setattr(Given, "folder", None)
    yield folder
    assert not canary.exists()


def edit(folder, change):
    path = folder / "config.yaml"
    config = yaml.safe_load(path.read_text())
    change(config)
    path.write_text(yaml.safe_dump(config))


def put(name, value):
    """A change of a configuration: a value at a dotted name."""
    *above, last = name.split(".")

    def change(config):
        for key in above:
            config = config.setdefault(key, {})
        config[last] = value

    return change


LOAD = {TARGET: "torch.load", "f": "victim/payload.pt", "weights_only": False}
TOUCH = {TARGET: "os.system", "_args_": ["touch canary"]}
NESTED = [
    ("optimizer.lr", TOUCH),
    ("optimizer.lr", LOAD),
    ("data.batch_size", LOAD),
    ("model.channels", LOAD),
    ("optimizer.lr", {TARGET: "pandas.read_pickle", "filepath_or_buffer": "victim/payload.bin"}),
    ("optimizer.lr", {TARGET: "joblib.load", "filename": "victim/payload.bin"}),
    ("optimizer.lr", {TARGET: "pandas.eval", "expr": '@__import__("os").system("touch canary")'}),
    ("model.deep", [1, {"er": [LOAD]}]),
    ("data.val_fraction", {"a": {TARGET: ["os.system"]}}),
]


@pytest.mark.parametrize(("name", "value"), NESTED)
def test_a_class_within_settings_is_refused_by_its_key(victim, name, value):
    edit(victim, put(name, value))
    words = rf"config.yaml .* names a class within settings, which is never made: {name}\."
    with pytest.raises(SettingError, match=words) as refused:
        load_trained(victim, device="cpu")
    assert TARGET in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize("command", ["stress", "landscape"])
def test_commands_refuse_it_in_a_line(victim, command):
    edit(victim, put("optimizer.lr", LOAD))
    done = CliRunner().invoke(main, [command, "victim", "--device", "cpu"])
    assert done.exit_code == 2
    (line,) = done.stderr.splitlines()
    assert "optimizer.lr._target_='torch.load'" in line


@pytest.mark.parametrize("optimizer", [LOAD, TOUCH, {TARGET: "nowhere.SGD"}, None, [1], "x"])
def test_an_optimizer_is_never_made(victim, optimizer):
    edit(victim, put("optimizer", optimizer))
    assert load_trained(victim, device="cpu").model.training is False


def test_nothing_but_model_and_data_is_made(victim):
    edit(victim, put("logger", {"x": LOAD}))
    edit(victim, put("trainer", LOAD))
    edit(victim, put("callbacks", [TOUCH]))
    load_trained(victim, device="cpu")


@pytest.mark.parametrize("value", ["${oc.env:HOME}", "${seed}", "a${oc.decode:x}", "${"])
@pytest.mark.parametrize("name", ["seed", "model.channels", "logger.x"])
def test_nothing_is_resolved(victim, name, value):
    edit(victim, put(name, value))
    with pytest.raises(SettingError, match=f"is not resolved: {re.escape(f'{name}={value!r}')}"):
        read_config(victim)


@pytest.mark.parametrize(
    "name", ["os.system", "torch.load", "builtins.exec", "lightning_dice.app.models.gpt.GPT"]
)
@pytest.mark.parametrize("group", ["model", "data"])
def test_another_class_is_refused_by_name(victim, group, name):
    edit(victim, put(group, {TARGET: name, "_args_": ["touch canary"]}))
    with pytest.raises(SettingError, match="which is no class of lightning-dice") as refused:
        load_trained(victim, device="cpu")
    assert f"names {group}._target_={name!r}" in str(refused.value)
    assert f"--{group}-class {name} victim" in str(refused.value)


@pytest.mark.parametrize("name", ["a; touch canary", "$(touch canary)", "", "x", "a.b\nc", "a..b"])
def test_a_name_that_is_none_is_in_no_command(victim, name):
    edit(victim, put(f"model.{TARGET}", name))
    with pytest.raises(SettingError, match="nor the name of any") as refused:
        load_trained(victim, device="cpu")
    assert "--model-class" not in str(refused.value)


@pytest.mark.parametrize("spoiled", [None, [], 3, "x", {}, {TARGET: 3}, {TARGET: ["os.system"]}])
def test_what_names_no_class_is_refused(victim, spoiled):
    edit(victim, put("model", spoiled))
    with pytest.raises(SettingError, match="does not name the class of its model"):
        load_trained(victim, device="cpu")


def test_a_missing_config_is_named(victim):
    (victim / "config.yaml").unlink()
    with pytest.raises(SettingError, match=r"config.yaml cannot be read: it is missing"):
        load_trained(victim, device="cpu")


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("model.channels", 10**9, "model.channels=1000000000: expected at most 4096"),
        ("model.channels", "many", "expected a number"),
        ("model.channels", 64, "another model than its config.yaml describes"),
        ("model.extra", 1, "model.extra=1: is no setting of ImageClassifier"),
        ("data.path", "/etc/passwd", "data.path='/etc/passwd': is no setting of Digits"),
        ("data.val_fraction", 2, "cannot be rebuilt here"),
        ("data.batch_size", 0, "cannot be rebuilt here"),
    ],
)
def test_settings_that_cannot_be_are_refused(victim, name, value, words):
    edit(victim, put(name, value))
    with pytest.raises(SettingError, match=words):
        load_trained(victim, device="cpu")


@pytest.mark.parametrize("name", ["../../x", "/etc/passwd", "a/b", "..", "a\\b", "a\0", ""])
def test_a_checkpoint_is_named_and_no_path(victim, name):
    with pytest.raises(SettingError) as refused:
        load_trained(victim, name, "cpu")
    assert refused.value.setting in ("checkpoint", "run")
    assert "root:" not in str(refused.value)


def test_a_class_of_ones_own_is_run_when_it_is_named_and_the_refusal_says_how(victim, monkeypatch):
    """The refusal's command, pasted, does the rest."""
    monkeypatch.setattr(commands, "program", lambda name: [name])
    (victim.parent / "mine_of_rebuild.py").write_text(
        "from lightning_dice.app.models import ImageClassifier\n"
        "class Net(ImageClassifier): pass\n"
        "class Thing: pass\n"
    )
    edit(victim, put(f"model.{TARGET}", "mine_of_rebuild.Net"))
    with pytest.raises(SettingError) as refused:
        load_trained(victim, device="cpu")
    command = str(refused.value).rpartition("run it with: ")[2]
    assert command == "lightning-dice stress --model-class mine_of_rebuild.Net victim"
    words = shlex.split(command)[1:]
    done = CliRunner().invoke(main, [*words, "--device", "cpu", "--examples", "8"])
    assert done.exit_code == 0, done.output
    trained = load_trained(victim, device="cpu", named=Named(model=("mine_of_rebuild.Net",)))
    assert type(trained.model).__name__ == "Net"
    edit(victim, put(f"model.{TARGET}", "mine_of_rebuild.Thing"))
    with pytest.raises(SettingError, match=r"model-class='mine_of_rebuild.Thing': is no Lightning"):
        load_trained(victim, device="cpu", named=Named(model=("mine_of_rebuild.Thing",)))
    edit(victim, put(f"model.{TARGET}", "mine_of_rebuild.Nothing"))
    with pytest.raises(SettingError, match="model-class"):
        load_trained(victim, device="cpu", named=Named(model=("mine_of_rebuild.Nothing",)))


def test_a_named_class_lets_no_other_one_in(victim):
    edit(victim, put(f"model.{TARGET}", "os.system"))
    for named in (Named(data=("os.system",)), Named(model=("os", "system", "os.systemd"))):
        with pytest.raises(SettingError, match="which is no class of lightning-dice"):
            load_trained(victim, device="cpu", named=named)
