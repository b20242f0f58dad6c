import os

import pandas as pd
import pytest

from lightning_dice.analysis.readers import read_metrics, read_roll_table, read_slots
from lightning_dice.analysis.run import read_summary
from lightning_dice.analysis.stress.record import read_record
from lightning_dice.analysis.sweep import find
from lightning_dice.analysis.sweep.files import write_files
from lightning_dice.analysis.sweep.tables import as_csv
from lightning_dice.rules import SettingError

READERS = {"metrics.csv": read_metrics, "rolls.csv": read_roll_table, "slots.csv": read_slots}


@pytest.mark.parametrize("name", READERS)
def test_a_pipe_or_a_link_out_of_the_folder_is_left_out(tmp_path, name):
    folder = tmp_path / "run"
    folder.mkdir()
    os.mkfifo(folder / name)
    assert "is a pipe" in READERS[name](folder / name)[1][0]
    (folder / name).unlink()
    (tmp_path / "secret").write_text("step,loss\n1,2\n")
    (folder / name).symlink_to("../secret")
    assert "leads out of the folder" in READERS[name](folder / name)[1][0]


@pytest.mark.parametrize("text", ["[" * 10**5, '{"a": ' + "9" * 5000 + "}"])
def test_a_summary_that_is_too_much_is_left_out(tmp_path, text):
    (tmp_path / "summary.json").write_text(text)
    (tmp_path / "stress.json").write_text(text)
    assert read_summary(tmp_path)[0] == {}
    assert read_record(tmp_path) is None


@pytest.mark.parametrize("name", ["plots", "tables"])
def test_nothing_is_written_through_a_link(tmp_path, name):
    (tmp_path / "elsewhere").mkdir()
    folder = tmp_path / "sweep"
    folder.mkdir()
    (folder / name).symlink_to("../elsewhere")
    with pytest.raises(SettingError, match="cannot be written"):
        write_files(folder, "page", {"runs": pd.DataFrame({"a": [1]})}, {"p": b"png"}, ["p"])
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_no_text_of_a_table_is_a_formula():
    table = pd.DataFrame({"text": ["=1", "+1", "-1", "@a", "a"], "number": [-0.5] * 5})
    rows = as_csv(table).decode().splitlines()[1:]
    assert rows == ["'=1,-0.5", "'+1,-0.5", "'-1,-0.5", "'@a,-0.5", "a,-0.5"]


def test_a_walk_ends(tmp_path, monkeypatch):
    monkeypatch.setattr(find, "MOST", 3)
    for name in "abcde":
        (tmp_path / name).mkdir()
    found, left_out = find.find_runs([tmp_path])
    assert found == []
    assert ["more than 3" in one.reason for one in left_out] == [True]
