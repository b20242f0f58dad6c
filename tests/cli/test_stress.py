import json
import subprocess
import sys

import pytest
from click.testing import CliRunner

from lightning_dice.cli.stress import stress
from lightning_dice.extras import install_command
from support.sweeps import Folder


@pytest.fixture
def noisy(tmp_path):
    """Runs on wrong labels, which keep no checkpoint."""
    folder = Folder(tmp_path / "noisy")
    for noise in (0.0, 0.4):
        for seed in range(3):
            settings = {"data.label_noise": noise}
            folder.add(0.9 - noise / 4 + seed / 100, seed, control="plain", settings=settings)
            folder.add(0.9 - noise / 9 + seed / 70, seed, settings=settings)
    return folder


def run(*arguments):
    return CliRunner().invoke(stress, list(map(str, arguments)))


def test_a_page_and_what_to_say(noisy):
    done = run(noisy.path)
    assert done.exit_code == 0, done.output
    first, second, third = done.output.splitlines()
    assert first.startswith("12 runs of 2 arms and 3 seeds, none of which could be measured")
    assert second == "Left out: 12 (cannot be measured)."
    assert third == str(noisy.path / "stress" / "report.html")
    assert (noisy.path / "stress" / "plots" / "label-noise.png").is_file()


def test_several_folders_and_out(noisy, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    runs = sorted(noisy.path.iterdir())
    assert run(*runs).output.splitlines()[-1] == "stress/report.html"
    done = run(*runs, "--out", "elsewhere")
    assert done.exit_code == 0
    assert (tmp_path / "elsewhere" / "report.html").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "there is no such folder"),
        (["."], "there is no run below it"),
        ([".", "--examples", "1"], "expected 2 or more"),
        ([".", "--seed", "-1"], "expected a whole number"),
        ([".", "--examples", "many"], "is not a valid integer"),
    ],
)
def test_refused(tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    done = run(*arguments)
    assert done.exit_code == 2
    assert message in done.output


def test_a_single_run_that_cannot_be_measured_is_an_error(noisy):
    folder = next(noisy.path.iterdir())
    done = run(folder)
    assert done.exit_code == 2
    assert "config.yaml cannot be read" in done.output
    summary = json.loads((folder / "summary.json").read_text())
    (folder / "summary.json").write_text(json.dumps({**summary, "status": "running"}))
    assert "has not finished" in run(folder).output


def test_runs_of_which_none_can_be_measured(tmp_path):
    folder = Folder(tmp_path / "runs")
    folder.arm([0.9, 0.91])
    done = run(folder.path)
    assert done.exit_code == 2
    assert "no run below it can be measured" in done.output


@pytest.mark.parametrize("missing", ["pandas", "scipy", "statsmodels"])
def test_what_it_needs_is_named(tmp_path, missing):
    code = (
        f"import sys; sys.modules[{missing!r}] = None; "
        "from lightning_dice.cli.stress import stress; stress()"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert install_command("report") in done.stderr


def test_it_loads_torch_only_when_it_runs():
    code = "import lightning_dice.cli.stress, sys; assert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
