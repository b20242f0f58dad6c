"""Files of a folder that may be somebody else's: opened within bounds, and inside it."""

import os
import socket
import sys
from pathlib import Path

import pytest

from lightning_dice import foreign
from lightning_dice.foreign import (
    Unreadable,
    inside,
    make_inside,
    open_file,
    read_bytes,
    read_lines,
    read_text,
    shown,
)

pytestmark = pytest.mark.timeout(20)


def test_a_file_is_read_whole_and_as_text(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"\xef\xbb\xbfa\xffb\n")
    assert read_bytes(path, 7) == b"\xef\xbb\xbfa\xffb\n"
    assert read_text(path, 7) == "a\N{REPLACEMENT CHARACTER}b\n"


def test_a_missing_file_is_missing(tmp_path):
    with pytest.raises(FileNotFoundError):
        open_file(tmp_path / "a", 1)


@pytest.mark.parametrize("size", [0, 5, 6])
def test_as_many_bytes_as_allowed(tmp_path, size):
    (tmp_path / "a").write_bytes(b"x" * size)
    if size == 6:
        with pytest.raises(Unreadable, match="is larger than 0 MB"):
            read_bytes(tmp_path / "a", 5)
    else:
        assert read_bytes(tmp_path / "a", 5) == b"x" * size


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: path.mkdir(), "a folder"),
        (os.mkfifo, "a pipe"),
        (lambda path: path.symlink_to("/dev/zero"), "a link that leads out of the folder"),
        (lambda path: path.symlink_to("nowhere"), "a link that leads nowhere"),
        (lambda path: path.symlink_to(path.name), "links lead to each other"),
        (lambda path: path.symlink_to("../secret"), "a link that leads out of the folder"),
    ],
)
def test_only_files_are_read(tmp_path, make, words):
    (tmp_path / "secret").write_text("x")
    (tmp_path / "run").mkdir()
    make(tmp_path / "run" / "a")
    with pytest.raises(Unreadable, match=words):
        read_bytes(tmp_path / "run" / "a", 100)


def test_a_socket_is_not_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # a socket's path has to be short
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind("a")
        with pytest.raises(Unreadable, match="a socket"):
            read_bytes(tmp_path / "a", 100)


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="has no devices")
def test_a_device_is_not_read():
    with pytest.raises(Unreadable, match="a device"):
        read_bytes(Path("/dev/zero"), 100)


def test_a_file_without_a_size_is_read_no_further(tmp_path):
    if not Path("/proc/self/maps").exists():
        pytest.skip("has no such file")
    with pytest.raises(Unreadable, match="is larger than"):
        read_bytes(Path("/proc/self/maps"), 10, root=Path("/proc"))


def test_links_within_a_folder_and_above_it_are_followed(tmp_path):
    (tmp_path / "run" / "sub").mkdir(parents=True)
    (tmp_path / "run" / "real").write_text("x")
    (tmp_path / "run" / "sub" / "a").symlink_to("../real")
    (tmp_path / "alias").symlink_to("run")
    root = tmp_path / "alias"
    assert read_text(root / "sub" / "a", 10, root) == "x"
    with pytest.raises(Unreadable, match="out of the folder"):
        read_text(root / "sub" / "a", 10)


def test_lines(tmp_path, monkeypatch):
    path = tmp_path / "a"
    path.write_bytes(b"\xef\xbb\xbfa,b\r\n\xff\n\nlast")
    assert list(read_lines(path)) == ["a,b\r\n", "\N{REPLACEMENT CHARACTER}\n", "\n"]
    monkeypatch.setattr(foreign, "LINE", 10)
    path.write_bytes(b"x" * 9 + b"\n")
    assert list(read_lines(path)) == ["x" * 9 + "\n"]
    path.write_bytes(b"a\n" + b"x" * 11)
    lines = read_lines(path)
    assert next(lines) == "a\n"
    with pytest.raises(Unreadable, match="has a line of more than"):
        next(lines)


def test_folders_are_made_inside(tmp_path):
    run, other = tmp_path / "run", tmp_path / "other"
    run.mkdir()
    other.mkdir()
    assert make_inside(run, "plots").is_dir()
    assert make_inside(run, "plots").is_dir()
    (run / "tables").symlink_to(other)
    (run / "a").symlink_to("b")
    (run / "b").symlink_to("a")
    for name in ("tables", "../x"):
        with pytest.raises(OSError, match="leads out of the folder"):
            make_inside(run, name)
    assert not inside(run / "a" / "c", run) or sys.version_info >= (3, 13)
    assert inside(run / "plots" / "new", run)
    assert not inside(run / "tables" / "new", run)
    assert list(other.iterdir()) == []


def test_names_that_are_no_text_are_shown():
    assert shown("runs/\u00e9") == "runs/\u00e9"
    assert shown(os.fsdecode(b"a\xffb")) == "a\\xffb"
