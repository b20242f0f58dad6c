"""The page in a headless Chromium, which has to fetch nothing and to fail nowhere."""

import os
import shutil
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

from lightning_dice.playground import write_playground

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
QUIET = ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ADVICE = "no Chromium: install it, or run `playwright install chromium`; BROWSER_OF_TESTS names one"


def executable(own):
    """A browser of the machine, else the one that playwright has downloaded."""
    named = os.environ.get("BROWSER_OF_TESTS")
    found = named or next(filter(None, map(shutil.which, NAMES)), own)
    if not Path(found).exists():
        pytest.skip(ADVICE)
    return found


@pytest.fixture(scope="session")
def browser():
    with sync_playwright() as playwright:
        chromium = playwright.chromium
        path = executable(chromium.executable_path)
        browser = chromium.launch(executable_path=path, args=FLAGS + QUIET)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def home(tmp_path_factory):
    return write_playground(tmp_path_factory.mktemp("page") / "playground.html").as_uri()


@pytest.fixture(scope="session")
def visit(browser, home):
    """Opens the page at an address; afterwards nothing has gone wrong in it.

    Waiting for a condition evaluates text, which the page's own policy forbids: it is held to that
    policy by a test of its own.
    """

    @contextmanager
    def visit(state="", width=1366, height=768, **options):
        options = {"bypass_csp": True, **options}
        context = browser.new_context(viewport={"width": width, "height": height}, **options)
        page = context.new_page()
        wrong = []
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda m: wrong.append(m.text) if m.type == "error" else None)
        page.on("request", lambda r: wrong.append(r.url) if r.url.startswith("http") else None)
        page.set_default_timeout(20_000)
        page.goto(f"{home}#{state}")
        yield page
        context.close()
        assert not wrong

    return visit


@pytest.fixture(scope="module")
def core(visit):
    """The page, for what it computes."""
    with visit() as page:
        page.evaluate(RACE)
        yield page


RACE = """() => {
  const { Race, complete, spec, tables } = window.lightningDice;
  // The race that some settings make, so many steps long, with changes at some of them.
  window.raced = (given, steps, changes = {}) => {
    const race = new Race(tables, complete(spec, given));
    const rolls = [];
    for (let step = 0; step < steps; step++) {
      if (changes[step]) race.change(changes[step]);
      const roll = race.advance();
      if (roll === null) break;
      rolls.push(roll);
    }
    const { plain, dice, mean } = race.runners;
    const of = ({ path, losses, stopped }) => ({ path, losses, stopped });
    return {
      rolls, plain: of(plain), dice: of(dice), mean: of(mean),
      observed: race.observed, settings: race.settings, steps: race.steps,
    };
  };
}"""


@pytest.fixture(scope="module")
def raced(core):
    """A race in the page: ``raced({"optimizer": "adam"}, 200)``."""

    def raced(given, steps, changes=None):
        return core.evaluate("(given) => window.raced(...given)", [given, steps, changes or {}])

    return raced
