"""Losses of a landscape that are kept: what somebody else left in their place is not believed."""

import os
import zipfile

import numpy as np
import pytest

from lightning_dice.app import values


@pytest.fixture
def kept(tmp_path):
    path = tmp_path / "values" / "slice.npz"
    path.parent.mkdir()
    np.savez(path, what=np.array("these"), losses=np.array([1.0, 2.0]))
    return path


def test_what_was_kept_is_read_back(kept):
    assert values._read(kept, "these").tolist() == [1.0, 2.0]
    assert values._read(kept, "others").size == 0


def header(shape):
    """The beginning of an array's file that says to hold more than it does."""
    text = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}".encode()
    text += b" " * (63 - (len(text) + 10) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


@pytest.mark.timeout(60)
@pytest.mark.parametrize("kind", ["pipe", "device", "packed", "huge", "cut", "objects", "empty"])
def test_traps_count_as_nothing(kept, kind):
    content = kept.read_bytes()
    kept.unlink()
    if kind == "pipe":
        os.mkfifo(kept)
    elif kind == "device":
        kept.symlink_to("/dev/zero")
    elif kind == "packed":
        np.savez_compressed(kept, what=np.array("these"), losses=np.zeros(10**7))
    elif kind == "objects":
        np.savez(kept, what=np.array("these"), losses=np.array([{}], dtype=object))
    elif kind == "huge":
        np.savez(kept, what=np.array("these"))
        with zipfile.ZipFile(kept, "a") as parts:
            parts.writestr("losses.npy", header((10**15,)))
    else:
        kept.write_bytes(content[:-30] if kind == "cut" else b"")
    assert values._read(kept, "these").size == 0


def test_nothing_is_written_through_a_link(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    out = tmp_path / "out"
    out.mkdir()
    (out / "values").symlink_to("../elsewhere")
    with pytest.raises(OSError, match="leads out of the folder"):
        values._write(out / "values" / "slice.npz", "these", None, np.zeros(1))
    assert not list((tmp_path / "elsewhere").iterdir())
