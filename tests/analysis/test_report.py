import base64
import io
import re
import shutil
import threading
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from lightning_dice import __version__
from lightning_dice.analysis import Run, paragraph, write_report
from lightning_dice.analysis import report as module
from lightning_dice.analysis.report import PLOTS
from lightning_dice.rules import SettingError

VOID = {"meta", "img", "br", "hr", "input", "link"}
EVIL = '<script>alert("1")</script>&<img src=x onerror=y>'


class Page(HTMLParser):
    """A page's elements and its text, and whether its tags match."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.words, self.open = [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())

    def all(self, tag):
        return [attrs for name, attrs in self.elements if name == tag]


def page_of(folder):
    return Page(write_report(folder).read_text("utf-8"))


def images(page):
    sources = [image["src"] for image in page.all("img")]
    prefix = "data:image/png;base64,"
    assert all(source.startswith(prefix) for source in sources)
    return [base64.b64decode(source.removeprefix(prefix), validate=True) for source in sources]


def test_the_page_stands_alone(make_run):
    page = page_of(make_run())
    for tag, attrs in page.elements:
        assert tag not in ("script", "link", "iframe", "object", "embed", "base", "form")
        assert not [name for name in attrs if name.startswith("on")]
        for name in ("src", "href", "srcset", "action"):
            assert attrs.get(name, "data:").startswith("data:")
    source = (write_report(make_run("again"))).read_text("utf-8")
    assert not re.search(r"url\(|@import|https?://", source)
    policy = next(m["content"] for m in page.all("meta") if "http-equiv" in m)
    assert policy.startswith("default-src 'none'")


def test_it_holds_the_plots_that_lie_beside_it(make_run):
    folder = make_run()
    embedded = images(page_of(folder))
    files = [folder / "plots" / f"{name}.png" for name in ("loss", "outcomes", "scales")]
    assert embedded == [path.read_bytes() for path in files]
    assert sorted((folder / "plots").iterdir()) == sorted(files)
    for png in embedded:
        image = Image.open(io.BytesIO(png))
        image.load()
        assert image.format == "PNG"
        assert image.width > 1000
        assert len(image.convert("RGB").getcolors(1 << 20)) > 20


def test_an_accuracy_adds_its_plot(make_run):
    rows = [{"step": s, "val_accuracy": s / 10} for s in range(9)]
    folder = make_run(steps=9, rows=rows)
    assert len(images(page_of(folder))) == 4
    assert (folder / "plots" / "accuracy.png").is_file()


@pytest.mark.parametrize(
    ("more", "scope"), [({"slots": 3}, "tensor"), ({"optimizers": 2}, "model")]
)
def test_several_slots_or_optimizers_add_their_plot(make_run, rolled, more, scope):
    rows = [{"step": s, "val_accuracy": s / 10} for s in range(9)]
    dice = {"scope": scope, "target": "update", "include": ["*.a", "b.*"], "exclude": ["c"]}
    page = page_of(make_run(records=rolled(30, **more), steps=30, rows=rows, dice=dice))
    assert len(images(page)) == len(PLOTS) == 5
    assert "Slot by slot" in page.text
    rows = {"tensor": "of 3 slots lie in the range", "model": "of 2 optimizers lie in the range"}
    assert rows[scope] in page.all("img")[-1]["alt"]
    assert ("Each dot is the mean scale of one step" in page.text) == (scope == "tensor")
    for setting in ("update a roll scales what the optimizer does", f"scope {scope}", "*.a, b.*"):
        assert setting in " ".join(page.text.split())


def test_alternative_texts_say_what_the_plots_say(make_run):
    texts = [image["alt"] for image in page_of(make_run()).all("img")]
    assert texts[0] == (
        "Validation loss ended at 1.93 nats/byte, 0.39 below the bigram baseline of 2.32."
    )
    assert "as the odds have it" in texts[1]
    assert "expected 0.323" in texts[2]


def test_headings_are_in_order(make_run):
    page = page_of(make_run())
    levels = [tag for tag, _ in page.elements if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == "h1"
    assert set(levels[1:]) == {"h2"}
    for heading in ("gpt on python_docs", "What was rolled", "Settings", "Versions"):
        assert heading in page.text
    assert page.all("html") == [{"lang": "en"}]
    assert all(header.get("scope") in ("row", "col") for header in page.all("th"))


def test_it_says_what_the_run_says(make_run):
    folder = make_run()
    page = page_of(folder)
    assert " ".join(paragraph(Run.load(folder)).split()) in page.text
    assert "seed: 0" in page.text
    assert "What is missing" not in page.text
    assert page.text.endswith(f"Written by lightning-dice {__version__} .".replace(" .", "."))


def test_the_configuration_is_folded(make_run):
    page = page_of(make_run())
    assert [attrs.get("open") for attrs in page.all("details")] == [None]
    assert "config.yaml, every setting as it was resolved" in page.text


@pytest.mark.parametrize("rule", ["prefers-color-scheme: dark", "@media print", "max-width: 40rem"])
def test_it_suits_dark_rooms_paper_and_phones(make_run, rule):
    assert rule in write_report(make_run(steps=9)).read_text("utf-8")


def test_what_users_wrote_is_text(make_run):
    task = dict.fromkeys(("data", "model", "optimizer", "unit"), EVIL) | {"metric": EVIL}
    folder = make_run(
        steps=9,
        task=task,
        status="failed",
        error=EVIL,
        baseline={"name": EVIL, "value": 1.0},
        metrics={EVIL: 2.0},
        versions={EVIL: EVIL},
        dice={"die": EVIL, "scaling": [EVIL], EVIL: EVIL},
    )
    (folder / "config.yaml").write_text(f"name: {EVIL}\n", encoding="utf-8")
    page = page_of(folder)
    assert not page.all("script")
    assert len(page.all("img")) == 3
    assert page.text.count("alert") >= 10


def test_what_is_missing_is_named_and_the_rest_is_shown(make_run):
    folder = make_run()
    (folder / "metrics.csv").unlink()
    (folder / "config.yaml").unlink()
    lines = (folder / "rolls.csv").read_text("utf-8")
    (folder / "rolls.csv").write_text(lines[:-3], encoding="utf-8")
    page = page_of(folder)
    for omission in (
        "rolls.csv is cut short; its last line is left out",
        "rolls.csv holds 599 rolls and summary.json counts 600",
        "metrics.csv is missing",
        "config.yaml is missing",
    ):
        assert omission in page.text
    assert len(images(page)) == 3
    assert not page.all("details")


@pytest.mark.parametrize("name", ["metrics.csv", "rolls.csv"])
@pytest.mark.parametrize("content", [None, b"", b"step", b"\x00\xff\xfe", b"a,b\n1,2\n", b"\n\n"])
def test_a_broken_table_is_an_omission_and_no_error(make_run, name, content):
    folder = make_run(steps=30)
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_bytes(content)
    page = page_of(folder)
    assert "What is missing" in page.text
    assert f"{name} " in page.text
    assert len(images(page)) == 3


def test_a_failed_run_has_its_error(make_run):
    error = "Traceback (most recent call last):\n  File\nRuntimeError: boom"
    page = page_of(make_run(steps=30, status="failed", error=error))
    assert "The run failed after 30 steps (RuntimeError: boom)." in page.text
    assert "Traceback (most recent call last):" in page.text


def test_the_same_run_gives_the_same_page(make_run):
    first = write_report(make_run(steps=30)).read_bytes()
    assert write_report(make_run(steps=30)).read_bytes() == first


def test_threads_write_what_one_thread_writes(make_run):
    folders = [make_run(f"place-{i}/run", steps=30) for i in range(3)]
    threads = [threading.Thread(target=write_report, args=[folder]) for folder in folders[1:]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expected = write_report(folders[0]).read_bytes()
    assert [(folder / "report.html").read_bytes() for folder in folders[1:]] == [expected] * 2


def test_it_takes_text_and_returns_the_page(make_run):
    folder = make_run(steps=9)
    assert write_report(str(folder)) == folder / "report.html"


def test_nothing_is_left_behind(make_run):
    folder = make_run(steps=9)
    before = {path.name for path in folder.iterdir()}
    write_report(folder)
    write_report(folder)
    assert {path.name for path in folder.iterdir()} == before | {"plots", "report.html"}


def test_a_folder_that_cannot_be_written(make_run):
    folder = make_run(steps=9)
    (folder / "plots").write_text("in the way", encoding="utf-8")
    with pytest.raises(SettingError, match=r"report\.html cannot be written there") as caught:
        write_report(folder)
    assert caught.value.setting == "folder"
    assert caught.value.value == str(folder)
    assert not (folder / "report.html").exists()


def test_an_old_page_survives_a_failure(make_run, monkeypatch):
    folder = make_run(steps=9)
    old = write_report(folder).read_bytes()
    replaced = module.Path.replace

    def fail(self, target):
        if target.name == "report.html":
            raise OSError(28, "No space left on device")
        return replaced(self, target)

    monkeypatch.setattr(module.Path, "replace", fail)
    with pytest.raises(SettingError, match="No space left on device"):
        write_report(folder)
    assert (folder / "report.html").read_bytes() == old
    assert not list(folder.glob(".*.part"))


def test_a_run_that_was_moved_still_has_its_report(make_run, tmp_path):
    folder = make_run(steps=9)
    expected = write_report(folder).read_bytes()
    shutil.move(folder, tmp_path / "elsewhere" / folder.name)
    assert write_report(tmp_path / "elsewhere" / folder.name).read_bytes() == expected


def test_the_page_of_somebodys_own_training_is_whole(make_own, rolled):
    page = page_of(make_own(records=rolled(600)))
    assert "Classifier with SGD" in page.text
    assert "What is missing" not in page.text
    assert "\N{EN DASH}" not in page.text
    assert "none given" not in page.text
    assert "30.0 (5.0 %)" in page.text.replace("\N{NO-BREAK SPACE}", " ")


@pytest.mark.parametrize(
    ("rolls", "drawn", "not_drawn"),
    [
        (9, "a mark for each roll", "share of each outcome"),
        (900, "share of each outcome", "a mark for each roll"),
    ],
)
def test_captions_are_of_what_is_drawn(make_own, rolled, rolls, drawn, not_drawn):
    text = page_of(make_own(records=rolled(rolls), steps=rolls)).text
    assert drawn in text
    assert not_drawn not in text
    assert "Above, the loss" in text
    bare = make_own("bare", records=rolled(rolls), rows=[])
    (bare / "saving_throw.json").unlink()
    text = page_of(bare).text
    for absent in ("Above, the loss", "diamonds", "settles on the expected scale"):
        assert absent not in text


@pytest.mark.parametrize("target", ["gradient", "update"])
def test_no_page_speaks_of_steps_that_went_backwards(make_run, target):
    page = page_of(make_run(steps=60, dice={"target": target}))
    alts = " ".join(image["alt"] for image in page.all("img"))
    assert not re.search(r"backward|forward|invers|invert|applied", f"{page.text} {alts}")
    assert ("gradient" in page.text) == (target == "gradient")


@pytest.mark.parametrize(
    ("folder", "remedy"),
    [
        (None, r"logger=CSVLogger\('\.'\)"),
        (3, "expected the path of a run's folder"),
        ("s3://bucket/version_0", r"logger=CSVLogger\('\.'\)"),
        (Path("memory://logs"), r"logger=CSVLogger\('\.'\)"),
        ("file:///logs/version_0", "expected its path, '/logs/version_0'"),
        (Path("file:///logs/version_0"), "expected its path, '/logs/version_0'"),
        ("file://localhost/logs", "expected its path, '/logs'"),
    ],
)
def test_a_place_that_is_no_folder_here_is_refused_with_a_remedy(folder, remedy):
    with pytest.raises(SettingError, match=remedy) as caught:
        write_report(folder)
    assert caught.value.setting == "folder"


def test_a_folder_whose_name_looks_like_an_address_is_a_folder(make_own, monkeypatch, tmp_path):
    made = make_own("memory:/logs", steps=9)
    monkeypatch.chdir(tmp_path)
    assert (made / write_report("memory:/logs").name).is_file()


def test_a_folder_that_is_no_run_gets_no_report(tmp_path):
    with pytest.raises(SettingError, match="not a run's folder"):
        write_report(tmp_path)
    assert list(tmp_path.iterdir()) == []
