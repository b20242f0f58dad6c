"""Runs the notebooks and makes pages of them, pictures and all: a hook of mkdocs.

What marimo itself exports loads its frontend from elsewhere, and this site loads nothing from
elsewhere. So a page is what the cells say and put out, as Markdown.
"""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.plugins import get_plugin_logger
from mkdocs.structure.files import File, Files

FOLDER = "notebooks"
SECONDS = 180
"""That a notebook may take; they are made to take ten or twenty."""
HOW_TO_OPEN = """\
!!! note
    This page is a notebook, [{name}]({name}), and what it gave when the site was built. To change
    it and run it yourself, in a checkout:

    ```bash
    python -m pip install '.[notebooks]'
    marimo edit docs/{folder}/{name}
    ```
"""

log = get_plugin_logger(__name__)


class Page(NamedTuple):
    """A page, and its pictures by name."""

    text: str
    pictures: dict[str, bytes]


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add a page for every notebook."""
    notebooks = sorted(Path(config.docs_dir, FOLDER).glob("*.py"))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        pages = pool.map(lambda path: page_of(path.name, path.read_text("utf-8")), notebooks)
        for notebook, page in zip(notebooks, pages, strict=True):
            made = {notebook.with_suffix(".md").name: page.text, **page.pictures}
            for name, content in made.items():
                files.append(File.generated(config, f"{FOLDER}/{name}", content=content))
    return files


@cache  # `mkdocs serve` builds again when any page changes
def page_of(name: str, code: str) -> Page:
    """Run a notebook, away from the pages as marimo leaves files beside it, and convert it.

    Raises:
        PluginError: If a cell fails, which fails the build, or the notebook takes too long.
    """
    with tempfile.TemporaryDirectory() as folder:
        notebook, result = Path(folder, name), Path(folder, "result.ipynb")
        notebook.write_text(code, encoding="utf-8")
        command = [sys.executable, "-m", "marimo", "--yes", "export", "ipynb", notebook]
        options = ["--include-outputs", "--sort", "top-down", "--output", result]
        try:
            done = subprocess.run(
                [*command, *options],
                cwd=folder,
                env={**os.environ, "OMP_NUM_THREADS": "1", "MPLBACKEND": "agg"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                encoding="utf-8",
                timeout=SECONDS,
                check=False,  # what went wrong is in the result
            )
        except subprocess.TimeoutExpired as error:
            raise PluginError(f"{name}: not through after {SECONDS} s") from error
        cells = json.loads(result.read_text("utf-8"))["cells"] if result.exists() else []
    check(name, cells)
    if done.returncode or not cells:
        raise PluginError(f"{name}: marimo could not run it\n{done.stdout}")
    return convert(name, cells)


def check(name: str, cells: list[dict[str, Any]]) -> None:
    """Fail for a cell that failed; warn, which is an error where it is strict, of what it says."""
    for cell in cells:
        for output in cell.get("outputs", ()):
            if output["output_type"] == "error":
                what = f"{output['ename']}: {output['evalue']}"
                raise PluginError(f"{name}: a cell failed with {what}\n\n{_text(cell['source'])}")
            if output.get("name") == "stderr":
                log.warning("%s: a cell says\n%s", name, _text(output["text"]))


def convert(name: str, cells: list[dict[str, Any]]) -> Page:
    """The page of a notebook that was run: prose, code that is not hidden, and what cells give."""
    stem = Path(name).stem
    parts: list[str] = []
    heading = stem
    pictures: dict[str, bytes] = {}
    for cell in cells:
        source = _text(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source)
            heading = _heading(source) or heading
        elif not cell["metadata"].get("marimo", {}).get("config", {}).get("hide_code"):
            parts.append(_fenced(source, "python"))
        for output in cell.get("outputs", ()):
            data = output.get("data", {})
            if "image/png" in data:
                picture = f"{stem}-{len(pictures) + 1}.png"
                pictures[picture] = base64.b64decode(_text(data["image/png"]))
                parts.append(f"![Figure: {heading}]({picture})")
            elif "text/markdown" in data:
                text = _text(data["text/markdown"])
                if not text.startswith("&lt;marimo-"):  # a slider has nothing to move here
                    parts.append(text)
                    heading = _heading(text) or heading
            elif output.get("name") == "stderr":
                continue  # reported by check
            elif text := _text(output.get("text", data.get("text/plain", ""))).rstrip():
                parts.append(_fenced(text, "text"))
    title, _, rest = "\n\n".join(parts).partition("\n")
    if not title.startswith("# "):
        raise PluginError(f"{name}: the first cell has to start with a title, # ...")
    how = HOW_TO_OPEN.format(name=name, folder=FOLDER)
    return Page(f"{title}\n\n{how}\n{rest.lstrip()}\n", pictures)


def _heading(prose: str) -> str | None:
    """The last heading, which is what a picture below it shows."""
    headings = re.findall(r"^#+ (.+)", prose, re.MULTILINE)
    return headings[-1] if headings else None


def _text(lines: str | list[str]) -> str:
    """What a notebook's file has as one string or as a list of lines."""
    return lines if isinstance(lines, str) else "".join(lines)


def _fenced(text: str, language: str) -> str:
    fence = "```" if "```" not in text else "````"
    return f"{fence}{language}\n{text}\n{fence}"
