"""The command that installs an extra: what pip is told, for each way in which we were installed."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import lightning_dice
from lightning_dice import extras
from lightning_dice.extras import install_command

ROOT = Path(__file__).parents[1]
PIP = [sys.executable, "-m", "pip", "install"]
METADATA = """\
Metadata-Version: 2.4
Name: lightning-dice
Version: 0.1.0
Requires-Dist: numpy>=1.26
Requires-Dist: tomli>=2; python_version < '3'
Requires-Dist: pandas>=2.1; extra == 'report'
Requires-Dist: scipy<2,>=1.13; extra == 'report'
Requires-Dist: plotly[express]>=6; extra == 'landscape'
Requires-Dist: lightning-dice[report]; extra == 'landscape'
"""


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Installs metadata that says where the package came from."""

    def install(origin):
        folder = tmp_path / "site" / "lightning_dice-0.1.0.dist-info"
        folder.mkdir(parents=True)
        (folder / "METADATA").write_text(METADATA)
        if origin is not None:
            (folder / "direct_url.json").write_text(json.dumps(origin))
        monkeypatch.syspath_prepend(folder.parent)

    return install


def test_an_editable_installation_is_extended_where_it_lies(tmp_path, installed):
    clone = tmp_path / "my clone's"
    clone.mkdir()
    installed({"url": clone.as_uri(), "dir_info": {"editable": True}})
    assert shlex.split(install_command("report")) == [*PIP, "--editable", f"{clone}[report]"]


def test_one_from_a_folder_or_a_wheel_is_made_again_from_there(tmp_path, installed):
    wheel = tmp_path / "lightning_dice-0.1.0-py3-none-any.whl"
    wheel.touch()
    installed({"url": wheel.as_uri(), "archive_info": {}})
    command = install_command("digits", "--force-reinstall")
    assert shlex.split(command) == [*PIP, "--force-reinstall", f"{wheel}[digits]"]


@pytest.mark.parametrize(
    "origin",
    [
        None,
        {"url": "file:///gone/away", "dir_info": {"editable": True}},
        {"url": "https://example.org/lightning-dice", "vcs_info": {"vcs": "git"}},
    ],
    ids=["index", "gone", "elsewhere"],
)
def test_of_any_other_the_packages_are_named(installed, origin):
    installed(origin)
    expected = ["pandas>=2.1", "plotly[express]>=6", "scipy<2,>=1.13"]
    assert shlex.split(install_command("landscape")) == [*PIP, *expected]


def test_without_an_installation_it_is_the_checkout(monkeypatch):
    def missing(name):
        raise extras.PackageNotFoundError(name)

    monkeypatch.setattr(extras, "distribution", missing)
    assert shlex.split(install_command("report")) == [*PIP, "--editable", f"{ROOT}[report]"]


def test_an_environment_without_pip_is_one_of_uv(monkeypatch):
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    start = shlex.split(install_command("report"))[:5]
    assert start == ["uv", "pip", "install", "--python", sys.executable]


@pytest.mark.slow
def test_pip_finds_the_packages_of_the_extra_there(tmp_path):
    """From another folder; editable or not, pip reads the same metadata."""
    command = [word for word in shlex.split(install_command("report")) if word != "--editable"]
    command += ["--no-build-isolation", "--no-index", "--dry-run"]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=240, check=True
    )
    for package in ("pandas", "scipy", "statsmodels"):
        assert f"Requirement already satisfied: {package}>=" in done.stdout
    assert f"Would install lightning-dice-{lightning_dice.__version__}" in done.stdout


def test_no_text_tells_to_install_the_package_from_an_index():
    command = re.compile(r"pip install[^\n`]*[ '\"]lightning[-_]dice\b(?!-0)")
    extra = re.compile(r"['\"`]lightning-dice\[")
    listed = ["git", "ls-files", "*.py", "*.md", "*.yaml", "*.j2", "*.js", "Makefile"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for path in map(Path, names.split()):
        if path.name in ("CHANGELOG.md", "test_extras.py") or not (ROOT / path).exists():
            continue
        text = (ROOT / path).read_text(encoding="utf-8")
        assert not command.search(text), path
        assert not extra.search(text), path
