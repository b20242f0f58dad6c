"""The file: one, small, the same every time, and nobody else's overwritten."""

import json
import re
import subprocess
import sys

import pytest

from lightning_dice.playground import playground, write_playground
from lightning_dice.playground.bundle import bundle
from lightning_dice.playground.tables import tables
from lightning_dice.rules import SettingError

BUILD = (
    "import sys; from lightning_dice.playground import playground; sys.stdout.write(playground())"
)


def test_it_is_small_and_names_no_other_place():
    page = playground()
    assert len(page.encode()) < 300 * 1024
    assert not re.search(r"(?:src|href)=\"(?!data:,|#)", page)
    assert "default-src 'none'" in page


@pytest.mark.slow
def test_another_process_builds_the_same_bytes():
    pages = [
        subprocess.run(
            [sys.executable, "-c", BUILD],
            env={"PYTHONHASHSEED": seed, "PYTHONUTF8": "1", "TZ": zone, "LC_ALL": "C"},
            capture_output=True,
            check=True,
            timeout=60,
        ).stdout
        for seed, zone in (("1", "UTC"), ("2", "Asia/Tokyo"))
    ]
    assert pages[0] == pages[1] == playground().encode()


def test_tables_stand_in_the_page_as_they_are():
    held = re.search(r'<script type="application/json" id="tables">(.*?)</script>', playground())
    assert json.loads(held[1]) == json.loads(json.dumps(tables()))


def test_an_older_page_is_replaced(tmp_path):
    path = write_playground(tmp_path / "deep" / "page.html")
    path.write_text(path.read_text().replace("Roll-to-Train", "older"))
    assert write_playground(path).read_text() == playground()
    assert [file.name for file in path.parent.iterdir()] == ["page.html"]


def test_another_file_is_left_alone(tmp_path):
    path = tmp_path / "thesis.html"
    path.write_text("<p>years of work</p>")
    with pytest.raises(SettingError, match=r"out=.*is no playground; name another file"):
        write_playground(path)
    assert path.read_text() == "<p>years of work</p>"


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(SettingError, match="is a folder"):
        write_playground(tmp_path)


def test_modules_come_before_those_that_import_them_and_once(tmp_path):
    for name, source in {
        "a.js": 'import { b } from "./b.js";\nimport { c } from "./c.js";\nb(c);\n',
        "b.js": 'import {\n  c,\n  d,\n} from "./c.js";\n\nexport function b() {\n  c + d;\n}\n',
        "c.js": "export const c = 1;\nconst hidden = 'export const';\nexport class D {}\n",
    }.items():
        (tmp_path / name).write_text(source)
    assert bundle(tmp_path, "a.js") == (
        "const c = 1;\nconst hidden = 'export const';\nclass D {}\n\n"
        "function b() {\n  c + d;\n}\n\n"
        "b(c);\n"
    )
