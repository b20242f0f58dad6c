"""Paths that a user gives, and folders that a command makes beside a run."""

from pathlib import Path

import pytest

from lightning_dice.places import output_in, usable
from lightning_dice.rules import SettingError


@pytest.mark.parametrize("given", ["a\0b", "", "x" * 256, "y/" * 2100, 3, None, b"out"])
def test_what_no_file_system_could_have_is_refused(given):
    with pytest.raises(SettingError, match=r"^out="):
        usable("out", given)


def test_a_default_folder_is_in_the_run_s(tmp_path):
    assert output_in(tmp_path, "stress") == tmp_path / "stress"


def test_one_that_is_a_link_out_of_the_run_is_refused(tmp_path):
    elsewhere, run = tmp_path / "elsewhere", tmp_path / "run"
    elsewhere.mkdir()
    run.mkdir()
    (run / "stress").symlink_to(elsewhere)
    with pytest.raises(SettingError, match=r"is a link that leads out of the folder.*--out"):
        output_in(run, "stress")


def test_a_link_in_the_current_folder_is_followed(tmp_path, monkeypatch):
    (tmp_path / "disk").mkdir()
    here = tmp_path / "here"
    here.mkdir()
    (here / "stress").symlink_to("../disk")
    monkeypatch.chdir(here)
    assert output_in(Path(), "stress") == Path("stress")
