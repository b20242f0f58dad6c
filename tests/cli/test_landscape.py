"""``lightning-dice landscape``: what it refuses, and how it says so."""

import builtins

import pytest
from click.testing import CliRunner

from lightning_dice.cli.landscape import landscape
from lightning_dice.extras import install_command


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["none"], "folder='none': there is no such folder"),
        (["."], "run='.': holds no run"),
        ([".", "--grid", "4"], "grid=4: expected an odd number"),
        ([".", "--device", "abacus"], "device='abacus'"),
        ([], "Missing argument 'RUN...'"),
    ],
)
def test_it_refuses(tmp_path, monkeypatch, arguments, expected):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(landscape, arguments)
    assert done.exit_code == 2
    assert expected in done.stderr
    assert not any(tmp_path.iterdir())


def test_it_says_which_extra_it_needs(tmp_path, monkeypatch):
    real = builtins.__import__

    def without(name, *given):
        if name.startswith("lightning_dice.analysis.landscape"):
            raise ModuleNotFoundError("No module named 'plotly'", name="plotly")
        return real(name, *given)

    monkeypatch.setattr(builtins, "__import__", without)
    done = CliRunner().invoke(landscape, [str(tmp_path)])
    assert done.exit_code == 2
    assert install_command("landscape") in done.stderr
