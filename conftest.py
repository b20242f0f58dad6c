"""Runs the examples in README.md and docs/: what they show is what they print.

* ```` ```python ```` blocks are run, in order and in one namespace per page; sessions (`>>>`) are
  doctests;
* ```` ```text title="output" ```` is all that the page has printed since its last such block;
* ```` ```console ```` holds `$ lightning-dice ...` commands and their whole output.

Anything else (```` ```bash ````, ```` ```text ````) is for people.
"""

from __future__ import annotations

import contextlib
import gc
import io
import logging
import os
import shlex
import subprocess
import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from textwrap import dedent

import hypothesis
import pytest
from sybil import Example, Sybil
from sybil.evaluators.python import PythonEvaluator
from sybil.parsers.markdown import CodeBlockParser, PythonCodeBlockParser

# Several processes share the cores, and whoever waits for one is not slow.
hypothesis.settings.register_profile("shared cores", deadline=None)
hypothesis.settings.load_profile("shared cores")

PROMPT = "$ "
UNTRACED = (
    "tests/adapters/test_one_result.py",
    "tests/analysis/test_plots.py",
    "tests/app/test_config.py",
    "tests/contracts",
    "tests/experiments",
    "tests/matrix",
    "tests/playground",
)
"""Pages in a browser, and combinations of what other tests run too: counting their lines would take
half as long again."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Leave tests out of the coverage that would add nothing to it.

    The marker no_cover of pytest-cov does not do it: what it stops in a worker of xdist has another
    one below it, which then goes on.
    """
    tracer = sys.gettrace()
    if tracer is None or not item.nodeid.startswith(UNTRACED):
        return (yield)
    sys.settrace(None)
    try:
        return (yield)
    finally:
        sys.settrace(tracer)


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    """Give other packages their level of logging back, which the application lowers for good.

    A test that calls the application in its own process would decide what later ones can see.
    """
    names = ("lightning", "lightning.pytorch", "lightning.fabric", "hydra.utils")
    levels = {name: logging.getLogger(name).level for name in names}
    yield
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


def pytest_collection_finish() -> None:
    """Spare collections of garbage what stays until the end: modules by the thousand."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="module")
def working_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An empty current folder for one page."""
    folder = tmp_path_factory.mktemp("page")
    # As for a reader who has activated the environment: commands have their short names.
    programs = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    with contextlib.chdir(folder), pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", programs)
        yield folder


def run_python(example: Example) -> None:
    """Run a block and keep what it prints for the block that shows it."""
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        PythonEvaluator()(example)
    example.namespace["_printed"] = example.namespace.get("_printed", "") + printed.getvalue()


def check_output(example: Example) -> None:
    """Compare a block of output with what was printed."""
    assert _lines(example.parsed) == _lines(example.namespace.pop("_printed", ""))


def check_console(example: Example) -> None:
    """Run the commands of a block and compare what they print."""
    shown = dedent(example.parsed)
    assert shown.startswith(PROMPT), "a console block starts with a command"
    for session in shown.removeprefix(PROMPT).split(f"\n{PROMPT}"):
        command, _, output = session.partition("\n")
        program, *arguments = shlex.split(command)
        assert program == "lightning-dice", "only lightning-dice is run; use a bash block"
        assert _lines(output) == _lines(_run(program, arguments))


def _run(program: str, arguments: list[str]) -> str:
    done = subprocess.run(  # noqa: S603 - our own command
        [Path(sys.executable).with_name(program), *arguments],
        env={**os.environ, "COLUMNS": "80", "FORCE_COLOR": "", "PYTHONUTF8": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        timeout=60,
        check=False,  # a command that is refused is an example too
    )
    return done.stdout


def _lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.strip("\n").splitlines()]


_python = PythonCodeBlockParser()
_python.codeblock_parser = CodeBlockParser("python", run_python)

pytest_collect_file = Sybil(
    parsers=[
        _python,
        CodeBlockParser('text title="output"', check_output),
        CodeBlockParser("console", check_console),
    ],
    patterns=["*.md"],
    fixtures=["working_folder"],
).pytest()
