"""Commands that are printed: quoted for the shell and for Hydra, and complete."""

import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

from lightning_dice.app import commands
from lightning_dice.app.commands import Given, near, override, program, resume_run, resume_sweep
from lightning_dice.app.schema import config_folder, register

NAMES = [
    "a",
    "a b",
    "a, b=c",
    "it's",
    "q\"uo'te",
    "[x]",
    "{a}",
    "$HOME",
    "${seed}",
    "a\\b",
    "tail\\",
]
NAMES += [" lead", "1", "null", "~/x", "a:b", "#x", "\u00e9", "ends'"]


@pytest.fixture
def given(tmp_path, monkeypatch):
    """Pretend that a command was given in ``tmp_path``."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Given, "arguments", ())
    monkeypatch.setattr(Given, "folder", None)
    monkeypatch.setattr(commands, "train_program", lambda: ["train"])
    return lambda *arguments: Given.remember(arguments)


@pytest.fixture
def read():
    """Read an override as Hydra does."""
    register()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        yield lambda argument: compose("train", [argument]).ckpt_path


def test_any_name_reaches_hydra_through_a_shell(read):
    echo = f"{shlex.quote(sys.executable)} -c 'import sys; print(*sys.argv[1:], sep=chr(10))' "
    written = [override("ckpt_path", name) for name in NAMES]
    done = subprocess.run(
        ["sh", "-c", echo + shlex.join(written)], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == written
    assert [read(one) for one in written] == NAMES


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        ([], "train hydra.run.dir=out ckpt_path=last"),
        (["a=1"], "train a=1 hydra.run.dir=out ckpt_path=last"),
        (["hydra.run.dir=x", "a=1,  2"], "train 'a=1,  2' hydra.run.dir=out ckpt_path=last"),
        (["ckpt_path=x.ckpt", "a=1"], "train a=1 hydra.run.dir=out ckpt_path=last"),
        (["a=1", "-cd", "conf"], "train a=1 hydra.run.dir=out ckpt_path=last -cd conf"),
        (["-cd", "conf", "a=1"], "train -cd conf a=1 hydra.run.dir=out ckpt_path=last"),
        (["-cd", "conf"], "train -cd conf hydra.run.dir=out ckpt_path=last"),
    ],
)
def test_a_run_is_resumed_by_the_command_that_was_given(given, tmp_path, arguments, command):
    given(*arguments)
    assert resume_run(tmp_path / "out") == command


def test_a_run_without_a_checkpoint_starts_from_the_one_that_was_given(given, tmp_path):
    given("ckpt_path=x.ckpt")
    assert resume_run(tmp_path / "out", again=True) == "train hydra.run.dir=out ckpt_path=x.ckpt"


def test_a_sweep_is_resumed_in_its_folder(given, tmp_path):
    given("-m", "seed=0, 1", "hydra.sweep.dir=x")
    assert resume_sweep(tmp_path / "a b") == "train -m 'seed=0, 1' 'hydra.sweep.dir=a b'"


def test_paths_are_those_of_the_reader(given, tmp_path, monkeypatch):
    given()
    (tmp_path / "job").mkdir()
    monkeypatch.chdir(tmp_path / "job")  # as Hydra does with hydra.job.chdir
    assert near(tmp_path / "job" / "report.html") == Path("job/report.html")
    assert near(tmp_path.parent / "x") == tmp_path.parent / "x"


def test_a_script_is_named_such_that_a_shell_finds_it(monkeypatch, tmp_path):
    there = Path(sys.executable).parent
    monkeypatch.setenv("PATH", str(there))
    assert program("lightning-dice") == ["lightning-dice"]
    monkeypatch.setenv("PATH", str(tmp_path))
    (name,) = program("lightning-dice")
    assert Path(name).absolute() == there / "lightning-dice"
    assert program("no-such-script") == []
