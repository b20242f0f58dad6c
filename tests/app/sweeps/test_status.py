"""How far a sweep is, read from what its runs write."""

import json
from collections import Counter

import pytest

from lightning_dice.app.sweeps.status import Watch, summary_of


def say(folder, status):
    folder.mkdir(exist_ok=True)
    (folder / "summary.json").write_text(json.dumps({"status": status, "pad": "x" * len(status)}))


@pytest.mark.parametrize("content", [None, "", "{", "[1]", "\x00"])
def test_what_cannot_be_read_is_no_summary(tmp_path, content):
    if content is not None:
        (tmp_path / "summary.json").write_text(content)
    assert summary_of(tmp_path) == {}


def test_runs_count_when_they_end_and_once(tmp_path):
    folders = [tmp_path / name for name in "abcd"]
    say(folders[0], "failed")  # of an earlier try
    watch = Watch(lambda: folders)
    assert watch() == Counter()
    for folder in folders[:3]:
        say(folder, "running")
    assert watch() == Counter()
    say(folders[0], "finished")
    say(folders[1], "failed")
    say(folders[2], "interrupted")
    assert watch() == watch() == Counter(finished=1, failed=1)
    say(folders[2], "refused")
    assert watch() == Counter(finished=1, failed=1, refused=1)


def test_folders_may_come_later(tmp_path):
    watch = Watch(lambda: tmp_path.glob("*/"))
    say(tmp_path / "0", "finished")
    assert watch() == Counter(finished=1)
