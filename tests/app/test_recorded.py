"""Commands from the record in a run's folder: none that would run what a stranger has put there."""

import shlex

import pytest
import yaml

from lightning_dice.app import recorded
from lightning_dice.app.commands import Given
from lightning_dice.app.recorded import how_to_resume, resume_recorded


@pytest.fixture
def record(tmp_path, monkeypatch):
    """Write Hydra's record of a run: ``record(overrides, ...)``; its folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Given, "folder", None)
    monkeypatch.setattr(recorded, "train_program", lambda: ["train"])

    def record(*task, own=(), sources=(), name="train", cwd=tmp_path):
        hydra = {
            "job": {"config_name": name},
            "overrides": {"task": list(task), "hydra": ["hydra.mode=RUN", *own]},
            "runtime": {"cwd": str(cwd), "config_sources": [{"provider": "main"}, *sources]},
        }
        place = tmp_path / "run" / ".hydra"
        place.mkdir(parents=True, exist_ok=True)
        (place / "hydra.yaml").write_text(yaml.safe_dump({"hydra": hydra}))
        return tmp_path / "run"

    return record


def test_the_command_of_a_run(record, tmp_path):
    digits = "data._target_=lightning_dice.app.data.Digits"
    folder = record("seed=1", digits, "ckpt_path=x", "data.path=/a/b", own=["hydra.job.chdir=true"])
    command = f"train seed=1 {digits} data.path=/a/b hydra.job.chdir=true hydra.run.dir=run"
    assert resume_recorded(folder) == f"{command} ckpt_path=last"
    assert how_to_resume(folder) == f"resume it with: {command} ckpt_path=last"
    there = tmp_path / "a b"
    there.mkdir()
    folder = record("seed=1", cwd=there)
    assert resume_recorded(folder).startswith(f"cd '{there}' && train seed=1 ")


@pytest.mark.parametrize(
    "word",
    [
        "model._target_=os.system",
        "+x._target_=torch.load",
        "model={_target_: os.system}",
        "data={'_target_':os.system}",
        "model={_tar\\get_:os.system}",
        "optimizer.lr={_target_:torch.load,f:victim/payload.pt}",
        "model@data._target_=lightning_dice.app.models.GPT",
        "data._target_=lightning_dice.app.models.GPT",
        "++model._target_='os.system'",
        "--config-dir=victim",
        "-cdvictim",
        "-m",
        "hydra.searchpath=[file://victim]",
        "hydra.launcher.x=1",
        "hydra/launcher=evil",
        "model=../../../victim/evil",
        "+model@model.a=/victim/evil",
    ],
)
def test_what_could_run_code_is_in_no_command(record, word):
    folder = record("seed=1", word)
    assert resume_recorded(folder) is None
    said = how_to_resume(folder)
    assert repr(word) in said
    assert "no command is given" in said
    assert "train " not in said


def test_settings_of_another_folder_are_in_no_command(record):
    searched = record(own=["hydra.searchpath=[file://victim]"])
    assert "no command is given" in how_to_resume(searched)
    given = record(sources=[{"provider": "command-line", "path": "victim/conf"}])
    assert "'--config-dir victim/conf'" in how_to_resume(given)
    named = record(name="evil")
    assert "'--config-name evil'" in how_to_resume(named)
    assert resume_recorded(named) is None


def test_a_shell_reads_a_record_as_words(record):
    odd = "x='a b'; touch canary $(touch canary) `touch canary`"
    words = shlex.split(resume_recorded(record(odd)))
    assert words == ["train", odd, "hydra.run.dir=run", "ckpt_path=last"]


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "hydra: 3", "hydra: {job: 1}", "a: &a [*a]", "hydra: {job: []}"]
)
def test_a_damaged_record_gives_none(record, content):
    folder = record()
    (folder / ".hydra" / "hydra.yaml").write_text(content)
    assert resume_recorded(folder) is None
    assert how_to_resume(folder) is None


def test_nothing_is_hidden_in_a_command(record):
    assert how_to_resume(record("x=a\x1b[8m")) is None
    assert how_to_resume(record("x=a\nb")) is None
