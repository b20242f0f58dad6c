"""The site builds without a warning, and its tables name everything that there is.

The examples on its pages are tests of their own: see conftest.py at the top of the repository.
"""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
import tomllib
from html.parser import HTMLParser
from pathlib import Path

import pytest
from omegaconf import DictConfig, OmegaConf

from lightning_dice.playground import playground

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
CONF = ROOT / "conf"


def run(*arguments: str | Path, cwd: Path, timeout: int) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def words(text: str) -> set[str]:
    """What is set as code."""
    return set(re.findall(r"`([^`\n]+)`", text))


def page(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def row(group: str) -> str:
    """What the table of config groups says of one."""
    _, _, table = page("a-run.md").partition("| group | options |")
    found = re.search(rf"^\| `{group}` \|.*$", table, re.MULTILINE)
    assert found, f"no row for {group}"
    return found[0]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    said = run("-m", "mkdocs", "build", "--strict", "--site-dir", folder, cwd=ROOT, timeout=240)
    assert "WARNING" not in said
    return folder


@pytest.mark.slow
def test_the_site_builds_strictly_and_has_every_page(site):
    # Strictly: links, anchors, and a navigation with every page and no other (see mkdocs.yml).
    pages = {path.relative_to(DOCS).with_suffix(".html") for path in DOCS.rglob("*.md")}
    assert pages <= {path.relative_to(site) for path in site.rglob("*.html")}


@pytest.mark.slow
def test_the_site_loads_nothing_from_elsewhere(site):
    loaded = re.compile(r'<(?:script|img|iframe)[^>]*\ssrc="([^"]*)"|<link[^>]*\shref="([^"]*)"')
    for path in site.rglob("*.html"):
        for match in loaded.finditer(path.read_text(encoding="utf-8")):
            assert not re.match(r"(https?:)?//", match[1] or match[2]), f"{path}: {match[0]}"


@pytest.mark.slow
def test_the_playground_is_on_the_site_as_the_command_writes_it(site):
    assert (site / "roll-to-train.html").read_text(encoding="utf-8") == playground()


GROUPS = sorted({str(path.parent.relative_to(CONF)) for path in CONF.glob("*/**/*.yaml")})


@pytest.mark.parametrize("group", GROUPS)
def test_the_table_of_groups_names_every_option(group):
    options = {path.stem for path in (CONF / group).glob("*.yaml")}
    assert options <= words(row(group))


def test_the_table_of_groups_names_the_defaults():
    config = OmegaConf.load(CONF / "train.yaml")
    for item in config.defaults:
        for group, option in item.items() if isinstance(item, DictConfig) else ():
            if (CONF / group).is_dir() and option is not None:
                assert f"default `{option}`" in row(group)


@pytest.mark.slow
def test_the_page_about_a_run_names_all_that_a_run_leaves(tmp_path):
    pytest.importorskip("sklearn")
    run(
        "-c",
        "from lightning_dice.app.main import main; main()",
        "data=digits",
        "trainer.max_steps=2",
        "trainer.val_check_interval=2",
        "trainer.log_every_n_steps=1",
        "hydra.run.dir=run",
        cwd=tmp_path,
        timeout=240,
    )
    folder, known = tmp_path / "run", words(page("a-run.md"))
    for path in folder.iterdir():
        assert path.name in known or f"{path.name}/" in known, path
    for path in (folder / "plots").iterdir():
        assert path.name in known, path
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    summary.pop("settings"), known.remove("settings")  # by keys of the configuration
    parts = [summary, *(part for part in summary.values() if isinstance(part, dict))]
    assert {key for part in parts for key in part} <= known
    for name in ("rolls.csv", "metrics.csv"):
        with (folder / name).open(encoding="utf-8") as file:
            assert set(next(csv.reader(file))) <= known, name


def test_the_table_of_extras_names_every_extra():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["optional-dependencies"].keys() <= words(page("install.md"))


def test_what_readme_links_to_is_there_and_nothing_is_left_to_fill_in():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    targets = {target for target in re.findall(r"\]\(([^)#]+)", text) if "://" not in target}
    assert {"docs/images/report.png", "docs/the-rule.md", "CONTRIBUTING.md"} <= targets
    assert [target for target in targets if not (ROOT / target).exists()] == []
    assert not re.search(r"\b[A-Z]+_[A-Z]+\b", text), "a placeholder"


class Tables(HTMLParser):
    """The rows of a page's tables, as the text of their cells."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self._open = False

    def handle_starttag(self, tag, attrs):
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self._open = True
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        self._open = self._open and tag not in ("td", "th")

    def handle_data(self, data):
        if self._open:
            self.rows[-1][-1] += data


@pytest.mark.slow
def test_the_reference_shows_defaults_as_values(site):
    shown = {}
    for path in (site / "reference").glob("*.html"):
        tables = Tables()
        tables.feed(path.read_text(encoding="utf-8"))
        for cells in tables.rows:
            if len(cells) == 4 and cells[0].strip() != "Name":
                name, _, _, default = ("".join(cell.split()) for cell in cells)
                assert default != name, path
                assert default == "required" or not re.search(r"[A-Z]{3}|Choices|^_|\b_", default)
                shown[path.stem, name] = default
    assert shown["callback", "granularity"] == "'per_accumulation_step'"
    assert shown["callback", "skip_discarded"] == "False"
    assert shown["adapters", "target"] == "'gradient'"
    assert shown["after-training", "steps"] == "10"
    assert shown["module", "saving_throw"] == "None"
