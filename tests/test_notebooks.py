"""What the built site does not show of its notebooks: that one which fails would fail it.

That each of them runs is shown by test_docs.py, which builds the site and so runs them all.
"""

from __future__ import annotations

import importlib.util
import logging
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("marimo")
pytest.importorskip("nbformat")
PluginError = pytest.importorskip("mkdocs.exceptions").PluginError

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.py"))
HEAD = """\
import marimo

app = marimo.App()


@app.cell(hide_code=True)
def _(mo):
    mo.md("# Tiny")
    return


@app.cell
def _():
    import marimo as mo

    return (mo,)
"""


@pytest.fixture(scope="module")
def hook():
    path = ROOT / "docs" / "notebook_pages.py"
    spec = importlib.util.spec_from_file_location("notebook_pages", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def cell(code: str, given: str = "") -> str:
    lines = "\n".join(f"    {line}" for line in code.splitlines())
    return f"\n\n@app.cell\ndef _({given}):\n{lines}\n    return\n"


def markdown(text):
    return {"cell_type": "markdown", "metadata": {}, "source": text}


def code(text, *outputs, hidden=False):
    metadata = {"marimo": {"config": {"hide_code": True}}} if hidden else {}
    return {"cell_type": "code", "metadata": metadata, "source": text, "outputs": list(outputs)}


def display(**data):
    data = {kind.replace("_", "/"): value for kind, value in data.items()}
    return {"output_type": "display_data", "data": data, "metadata": {}}


@pytest.mark.slow
def test_a_cell_that_fails_fails_the_build(hook):
    with pytest.raises(PluginError, match=r"broken\.py: a cell .*ZeroDivisionError.*\n\n1 / 0"):
        hook.page_of("broken.py", HEAD + cell("1 / 0"))


@pytest.mark.slow
def test_a_file_that_is_no_notebook_fails_the_build(hook):
    with pytest.raises(PluginError, match=r"broken\.py"):
        hook.page_of("broken.py", "x = (")


@pytest.mark.slow
def test_a_notebook_that_takes_too_long_fails_the_build(hook, monkeypatch):
    monkeypatch.setattr(hook, "SECONDS", 0.01)
    with pytest.raises(PluginError, match=r"slow\.py: not through after 0\.01 s"):
        hook.page_of("slow.py", HEAD)


@pytest.mark.slow
def test_what_a_cell_says_is_on_the_page_and_a_warning_is_one_of_the_build(hook, caplog):
    said = cell('print("of old")\nmo.md(f"the sum is {2 + 3}")', given="mo")
    warned = cell('import warnings\nwarnings.warn("mind the gap", stacklevel=1)')
    with caplog.at_level(logging.WARNING, logger="mkdocs"):
        page = hook.page_of("tiny.py", HEAD + said + warned)
    assert page.text.startswith("# Tiny\n")
    assert "marimo edit docs/notebooks/tiny.py" in page.text
    assert "of old" in page.text
    assert "the sum is 5" in page.text
    assert "UserWarning: mind the gap" in caplog.text
    assert "UserWarning" not in page.text


def test_hidden_code_and_widgets_are_left_out_and_pictures_are_files(hook):
    page = hook.convert(
        "a.py",
        [
            markdown("# A"),
            markdown("## What is drawn"),
            code("# Not a heading"),
            code("secret", display(image_png="aGVsbG8="), hidden=True),
            code("slider", display(text_markdown=["&lt;marimo-slider data=&#x27;1&#x27;&gt;"])),
        ],
    )
    assert page.pictures == {"a-1.png": b"hello"}
    assert "![Figure: What is drawn](a-1.png)" in page.text
    assert "secret" not in page.text
    assert "```python\nslider\n```" in page.text
    assert "marimo-slider" not in page.text


def test_a_notebook_without_a_title_is_refused(hook):
    with pytest.raises(PluginError, match="title"):
        hook.convert("a.py", [code("1")])


def test_every_notebook_is_in_the_navigation():
    config = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    assert len(NOTEBOOKS) >= 3
    for notebook in NOTEBOOKS:
        assert f": notebooks/{notebook.stem}.md\n" in config


@pytest.mark.slow
def test_marimo_finds_nothing_to_improve():
    done = subprocess.run(
        [sys.executable, "-m", "marimo", "check", "--strict", *NOTEBOOKS],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout
