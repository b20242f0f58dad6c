"""Checkpoints of somebody else: tensors, or one sentence; their size is known before it is used."""

import io
import os
import pickle
import zipfile
from pathlib import Path

import pytest
import torch

from lightning_dice.app.checkpoint_file import read_weights
from lightning_dice.foreign import Unreadable

pytestmark = pytest.mark.timeout(60)
WEIGHTS = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.zeros(2, dtype=torch.int64)}


@pytest.fixture
def canary(tmp_path):
    yield tmp_path / "canary"
    assert not (tmp_path / "canary").exists()


class Runs:
    def __init__(self, canary):
        self.canary = canary

    def __reduce__(self):
        return Path.touch, (self.canary,)


def saved(path, checkpoint):
    torch.save(checkpoint, path)
    return path


def changed(path, change):
    """The file again, with its parts changed: bytes by name."""
    with zipfile.ZipFile(path) as parts:
        content = {one.filename: parts.read(one) for one in parts.infolist()}
    change(content)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as parts:
        for name, value in content.items():
            parts.writestr(name, value)


def refused(path, words):
    with pytest.raises(Unreadable, match=words) as error:
        read_weights(path, path.parent)
    assert len(str(error.value).splitlines()) == 1
    assert len(str(error.value)) < 300


def test_weights_are_read(tmp_path):
    path = saved(tmp_path / "last.ckpt", {"state_dict": WEIGHTS, "epoch": 3})
    read = read_weights(path, tmp_path)
    assert list(read) == ["a", "b"]
    assert all(torch.equal(read[name], WEIGHTS[name]) for name in WEIGHTS)


def test_what_runs_code_is_refused(tmp_path, canary):
    refused(saved(tmp_path / "a.ckpt", {"state_dict": Runs(canary)}), "UnpicklingError")
    refused(saved(tmp_path / "b.ckpt", {"state_dict": WEIGHTS, "x": Runs(canary)}), "Unpickling")
    (tmp_path / "c.ckpt").write_bytes(pickle.dumps(Runs(canary)))
    refused(tmp_path / "c.ckpt", "it is no zip file of its parts")


@pytest.mark.parametrize(
    "checkpoint",
    [
        *[{}, [], None, 3, {"state_dict": {}}, {"state_dict": [1]}, {"state_dict": None}],
        *[{"state_dict": {"a": 1}}, {"state_dict": {1: torch.ones(1)}}],
        {"state_dict": {"a": torch.ones(3).to_sparse()}},
        {"state_dict": {"a": torch.ones(3, device="meta")}},
    ],
)
def test_what_holds_no_weights_is_refused(tmp_path, checkpoint):
    refused(saved(tmp_path / "a.ckpt", checkpoint), "it has no state_dict|is no tensor")


def test_every_cut_is_refused(tmp_path):
    whole = saved(tmp_path / "a.ckpt", {"state_dict": WEIGHTS}).read_bytes()
    for length in range(0, len(whole), 97):
        (tmp_path / "a.ckpt").write_bytes(whole[:length])
        refused(tmp_path / "a.ckpt", "cannot be read as a checkpoint")


def test_a_damaged_part_is_named(tmp_path):
    path = saved(tmp_path / "a.ckpt", {"state_dict": WEIGHTS})
    content = bytearray(path.read_bytes())
    at = content.index(WEIGHTS["a"].numpy().tobytes())
    content[at] ^= 1
    path.write_bytes(content)
    refused(path, r"cannot be read as a checkpoint \(\S+data/0 is damaged\)")


def test_flipped_bits_are_refused_or_harmless(tmp_path):
    path = saved(tmp_path / "a.ckpt", {"state_dict": WEIGHTS})
    whole = path.read_bytes()
    for at in range(0, len(whole), 41):
        content = bytearray(whole)
        content[at] ^= 1 << at % 8
        path.write_bytes(content)
        try:
            read = read_weights(path, tmp_path)
        except Unreadable:
            continue
        assert {name: weight.shape for name, weight in read.items()} == {
            name: weight.shape for name, weight in WEIGHTS.items()
        }


def test_packed_parts_could_be_of_any_size(tmp_path):
    path = tmp_path / "a.ckpt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as parts:
        parts.writestr("a/data.pkl", b"\0" * 10**8)
    assert path.stat().st_size < 10**6
    refused(path, "its parts are packed")


def test_a_part_that_is_missing(tmp_path):
    path = saved(tmp_path / "a.ckpt", {"state_dict": WEIGHTS})
    changed(path, lambda parts: parts.pop(next(n for n in parts if n.endswith("data/0"))))
    refused(path, "cannot be read as a checkpoint")


def test_a_list_of_parts_that_fills_the_memory(tmp_path):
    end = bytearray(b"PK\x05\x06" + b"\0" * 18)
    end[12:16] = (2 * 10**9).to_bytes(4, "little")
    (tmp_path / "a.ckpt").write_bytes(bytes(end))
    refused(tmp_path / "a.ckpt", "it is no zip file of its parts")


def test_what_is_no_file(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "pipe.ckpt")
    refused(tmp_path / "pipe.ckpt", "is a pipe")
    (tmp_path / "run").mkdir()
    saved(tmp_path / "a.ckpt", {"state_dict": WEIGHTS})
    (tmp_path / "run" / "a.ckpt").symlink_to("../a.ckpt")
    refused(tmp_path / "run" / "a.ckpt", "leads out of the folder")


def test_the_format_before_zip_files_is_refused(tmp_path, canary):
    buffer = io.BytesIO()
    torch.save({"state_dict": Runs(canary)}, buffer, _use_new_zipfile_serialization=False)
    (tmp_path / "a.ckpt").write_bytes(buffer.getvalue())
    refused(tmp_path / "a.ckpt", "it is no zip file of its parts")
