"""JSON and YAML of somebody else: plain values, few of them, or one sentence."""

import pytest
import yaml

from lightning_dice.foreign import Unreadable
from lightning_dice.plain_data import DEPTH, read_json
from lightning_dice.plain_yaml import NODES, read_yaml

pytestmark = pytest.mark.timeout(20)


@pytest.fixture
def reads(tmp_path):
    def reads(read, content):
        path = tmp_path / "a"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read(path)

    return reads


def test_json_is_read(reads):
    assert reads(read_json, '{"a": [1, -0.5, true, null, "x"], "b": {}}') == {
        "a": [1, -0.5, True, None, "x"],
        "b": {},
    }
    assert reads(read_json, '["\\ud800"]') == ["?"]
    assert reads(read_json, "9" * 40) == int("9" * 40)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", r"is no JSON \(.*line 1"),
        ("", "is no JSON"),
        (b"\0\xff", "is no JSON"),
        ("9" * 5000, "a whole number of 5000 digits"),
        ("[" * 100_000, "nested deeper than 32 levels"),
        ("[" * (DEPTH + 2) + "]" * (DEPTH + 2), "nested deeper than 32 levels"),
        (" " * 10**6 + " 1", "is larger than 1 MB"),
    ],
)
def test_json_that_is_not(reads, content, words):
    with pytest.raises(Unreadable, match=words):
        reads(read_json, content)


def test_yaml_is_read(reads):
    value = {"a": [1, -0.5, True, None, "x", "2026-01-01"], "b": {"c": {}}, "d": "it's: \u00e9"}
    assert reads(read_yaml, yaml.safe_dump(value)) == value
    assert reads(read_yaml, "day: 2026-01-01") == {"day": "2026-01-01"}
    assert reads(read_yaml, "<<: {a: 1}") == {"<<": {"a": 1}}, "nothing is merged"
    assert reads(read_yaml, "") is None


BOMB = "a: &a [x]\n" + "".join(
    f"{one}: &{one} [*{before}, *{before}]\n"
    for before, one in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (BOMB, "has an alias"),
        ("a: &a [*a]", "has an alias"),
        ("!!python/object/apply:os.system [touch canary]", "is no plain value"),
        ("a: !!python/name:os.system ''", "is no plain value"),
        ("a: !!binary aGk=", "is no plain value"),
        ("!!set {a, b}", "is no plain value"),
        ("? [a]\n: b", "is no plain value"),
        ("a: 1\na: 2", "has the key 'a' twice"),
        ("{", "is no YAML"),
        ("a: 1\n\tb: 2", "is no YAML"),
        ("a: 1\n---\nb: 2", "is no YAML"),
        ("%" * 10, "is no YAML"),
        ("[" * 500, "nested deeper than 32 levels"),
        ("[" * 400_000, "nested deeper than 32 levels"),
        ("[" + "1," * NODES + "]", f"holds more than {NODES} values"),
        ("a: " + "9" * 5000, "a number of 5000 characters"),
        ("a: 1" + ":59" * 5000, "a number of 15001 characters"),
        ("# " + "x" * 10**6, "is larger than 1 MB"),
    ],
)
def test_yaml_that_is_not(reads, content, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Unreadable, match=words):
        reads(read_yaml, content)
    assert not (tmp_path / "canary").exists()


def test_odd_characters_are_replaced(reads):
    assert reads(read_yaml, b"a: b\0c\xff") == {
        "a": "b\N{REPLACEMENT CHARACTER}c\N{REPLACEMENT CHARACTER}"
    }
