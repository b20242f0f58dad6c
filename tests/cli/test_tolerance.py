import inspect
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from lightning_dice.analysis.tolerance import write_tolerance_report
from lightning_dice.cli.tolerance import tolerance
from lightning_dice.extras import install_command
from support.tolerance import write_tolerance


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    return write_tolerance(tmp_path_factory.mktemp("cli") / "sweep").path


def run(*arguments):
    return CliRunner().invoke(tolerance, [*map(str, arguments)])


def test_a_sweep(sweep):
    done = run(sweep)
    assert (done.exit_code, done.exception) == (0, None)
    first, *table, last, path = done.output.splitlines()
    assert first.startswith("SGD withstands most: it kept ")
    assert max(map(len, table)) <= 80
    cells = [line.split() for line in table if line.strip()]
    assert [row[:2] for row in cells[2:]] == [["SGD", "1"], ["AdamW", "2"]]
    assert last == "Nothing was left out."
    assert path == str(sweep / "tolerance" / "report.html")
    assert Path(path).is_file()


def test_within_and_out(sweep, tmp_path):
    done = run(sweep, "--within", "0.5", "--out", tmp_path / "x")
    assert "within 50\xa0percentage points of plain" in done.output
    assert done.output.splitlines()[-1] == str(tmp_path / "x" / "report.html")


def test_the_default_is_what_the_help_says():
    default = inspect.signature(write_tolerance_report).parameters["within"].default
    assert f"[default: {default}]" in " ".join(run("--help").output.split())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["gone"], "folder='gone': there is no such folder"),
        (["sweep", "--within", "much"], "within='much': expected a share"),
        (["sweep", "--within", ""], "within='': expected a share"),
        (["sweep/000"], "there is nothing to test (no arm rolls dice)"),
    ],
)
def test_what_cannot_be_done_is_one_clear_error(sweep, monkeypatch, arguments, words):
    monkeypatch.chdir(sweep.parent)
    done = run(*arguments)
    assert done.exit_code == 2
    assert done.output.startswith("Error: ")
    assert words in done.output
    assert len(done.output.splitlines()) == 1


@pytest.mark.parametrize("missing", ["pandas", "scipy", "statsmodels"])
def test_what_it_needs_is_named(monkeypatch, missing):
    error = ModuleNotFoundError(f"No module named '{missing}'", name=f"{missing}.stats")

    def fail(name, *arguments):
        if name == "lightning_dice.analysis.sweep.gather":
            raise error
        return original(name, *arguments)

    original = __import__
    monkeypatch.setattr("builtins.__import__", fail)
    done = run("anywhere")
    assert done.exit_code == 2
    assert done.output == (
        f"Error: needs pandas, SciPy and statsmodels; {install_command('report')}\n"
    )


def test_any_other_missing_module_is_an_error_as_it_is(monkeypatch):
    monkeypatch.setitem(sys.modules, "lightning_dice.analysis.sweep.gather", None)
    assert isinstance(run("anywhere").exception, ModuleNotFoundError)


def test_it_loads_no_torch_and_its_help_no_pandas(sweep):
    code = (
        "import sys; from lightning_dice.cli.tolerance import tolerance; "
        "print({'pandas', 'matplotlib'} & set(sys.modules)); "
        "tolerance(standalone_mode=False); "
        "print({'torch', 'lightning', 'hydra'} & set(sys.modules))"
    )
    command = [sys.executable, "-W", "error", "-c", code, str(sweep)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert (lines[0], lines[-1]) == ("set()", "set()")
