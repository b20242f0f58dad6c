"""``lightning-dice playground``: where it goes, what it says, what it opens."""

import webbrowser

import pytest
from click.testing import CliRunner

from lightning_dice.cli import main
from lightning_dice.playground import playground


@pytest.fixture(autouse=True)
def opened(monkeypatch):
    """What was to be opened, in a browser that can always be had."""
    asked = []
    monkeypatch.setattr(webbrowser, "open", lambda url: asked.append(url) or True)
    return asked


def run(*arguments):
    return CliRunner().invoke(main, ["playground", *map(str, arguments)])


def test_it_is_written_and_opened(tmp_path, monkeypatch, opened):
    monkeypatch.chdir(tmp_path)
    done = run()
    path = tmp_path / "playground.html"
    assert (done.exit_code, done.output) == (0, f"{path}\n")
    assert path.read_text() == playground()
    assert opened == [path.as_uri()]


def test_elsewhere_and_unopened(tmp_path, opened):
    path = tmp_path / "lecture" / "die & dice.html"
    assert run("--out", path, "--no-open").exit_code == 0
    assert path.read_text() == playground()
    assert not opened


def test_no_browser_is_no_failure(tmp_path, monkeypatch):
    monkeypatch.setattr(webbrowser, "open", lambda url: False)
    done = run("--out", tmp_path / "page.html")
    assert done.exit_code == 0
    assert done.stderr == "No browser could be started: open the file in one.\n"


def test_another_file_is_refused_and_kept(tmp_path, opened):
    path = tmp_path / "page.html"
    path.write_text("mine")
    done = run("--out", path)
    assert done.exit_code == 2
    assert "is no playground" in done.stderr
    assert path.read_text() == "mine"
    assert not opened
