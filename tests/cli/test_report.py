import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from lightning_dice.cli import main
from lightning_dice.extras import install_command
from lightning_dice.rules import SavingThrow

PROGRAM = Path(sys.executable).with_name("lightning-dice")


def summary(final, seed, control="none"):
    throw = SavingThrow("d20", 5)
    odds = {"mean": float(throw.odds().mean)}
    return {
        "format": 1,
        "status": "finished",
        "task": {"metric": "val_accuracy", "unit": "share right", "mode": "max"},
        "seed": seed,
        "control": {"name": control, "of": throw.settings(), "odds": odds},
        "dice": throw.settings(),
        "metrics": {"val_accuracy": final},
        "baseline": {"value": 0.1},
    }


@pytest.fixture
def sweep(tmp_path):
    for seed, control in [(s, c) for s in range(4) for c in ("none", "plain")]:
        folder = tmp_path / "sweep" / f"{control}-{seed}"
        folder.mkdir(parents=True)
        text = json.dumps(summary(0.9 + seed / 100, seed, control))
        (folder / "summary.json").write_text(text, encoding="utf-8")
        (folder / "metrics.csv").write_text("step,val_accuracy\n0,0.5\n9,0.9\n", encoding="utf-8")
    return tmp_path / "sweep"


def run(*arguments):
    return CliRunner().invoke(main, ["report", *map(str, arguments)])


def test_a_sweep(sweep):
    (sweep / "bad").mkdir()
    (sweep / "bad" / "summary.json").write_text("[]", encoding="utf-8")
    done = run(sweep)
    first, second, third = done.output.splitlines()
    assert done.exit_code == 0
    assert first.startswith("The one arm with dice learned; it cannot be told apart from plain.")
    assert "8 runs counted: 2 arms, 4 seeds each" in first
    assert second == "Left out: 1 (summary.json is not one of lightning-dice)."
    assert third == str(sweep / "report.html")
    assert (sweep / "report.html").is_file()
    assert (sweep / "tables" / "arms.csv").is_file()


def test_out_and_several_folders(sweep, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folders = sorted(sweep.iterdir())
    assert run(*folders).output.splitlines()[-1] == str(Path("report") / "report.html")
    done = run(sweep, "--out", "elsewhere")
    assert done.output.splitlines()[-1] == str(Path("elsewhere") / "report.html")
    assert not (sweep / "report.html").exists()


def test_one_run_has_the_report_of_a_run(sweep):
    folder = sweep / "none-0"
    done = run(folder)
    assert (done.exit_code, done.output) == (0, f"{folder / 'report.html'}\n")
    assert "Roll-to-Train run report" in (folder / "report.html").read_text("utf-8")
    refused = run(folder, "--out", "x")
    assert refused.exit_code == 2
    assert "a run's report lies in its own folder; leave this out" in refused.output


def test_somebodys_own_training_has_the_report_of_a_run(tmp_path):
    text = json.dumps({"format": 1, "status": "finished", "steps": 9, "task": {"model": "Net"}})
    (tmp_path / "saving_throw.json").write_text(text, encoding="utf-8")
    done = run(tmp_path)
    assert (done.exit_code, done.output) == (0, f"{tmp_path / 'report.html'}\n")


@pytest.mark.parametrize(
    ("name", "words"), [("gone", "there is no such folder"), ("empty", "there is no run below it")]
)
def test_nothing_to_report_is_one_clear_error(tmp_path, name, words):
    (tmp_path / "empty").mkdir()
    done = run(tmp_path / name)
    assert done.exit_code == 2
    assert done.output.startswith("Error: folder='")
    assert words in done.output
    assert len(done.output.splitlines()) == 1


@pytest.mark.parametrize("missing", ["pandas", "scipy", "statsmodels"])
def test_what_it_needs_is_named(sweep, missing):
    code = (
        f"import sys; sys.modules[{missing!r}] = None; from lightning_dice.cli import main; main()"
    )
    command = [sys.executable, "-c", code, "report", str(sweep)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == (
        f"Error: needs pandas, SciPy and statsmodels; {install_command('report')}\n"
    )


def test_any_other_missing_module_is_an_error_as_it_is(sweep, monkeypatch):
    monkeypatch.setitem(sys.modules, "lightning_dice.analysis.sweep.gather", None)
    assert isinstance(run(sweep).exception, ModuleNotFoundError)


@pytest.mark.slow
def test_the_program(sweep):
    command = [PROGRAM, "report", sweep]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == str(sweep / "report.html")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["lightning_dice.analysis", "lightning_dice.cli"])
def test_nothing_else_loads_pandas(name):
    code = f"import sys, {name}; print({{'pandas', 'scipy', 'statsmodels'}} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_it_loads_no_torch(sweep):
    code = (
        "import sys; from lightning_dice.cli import main; main(standalone_mode=False); "
        "print({'torch', 'lightning', 'hydra'} & set(sys.modules))"
    )
    command = [sys.executable, "-c", code, "report", str(sweep)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "set()"
