import json
import math

import pytest

from lightning_dice.analysis.stress.record import COLUMNS, read_record


def write(folder, given):
    text = given if isinstance(given, str) else json.dumps(given)
    (folder / "stress.json").write_text(text, encoding="utf-8")
    return read_record(folder)


ROW = {"probe": "clean", "kind": "", "strength": None, "metric": "loss", "value": 0.5}


def test_it_is_read_as_it_was_written(tmp_path):
    noisy = {**ROW, "probe": "weight noise", "strength": 0.1, "se": 0.01}
    record = write(
        tmp_path,
        {
            "format": 1,
            "settings": {"seed": 0},
            "data": "images",
            "examples": 3,
            "measures": [ROW, noisy],
            "omissions": ["no"],
        },
    )
    assert list(record.measures) == [*COLUMNS]
    assert record.measures["value"].tolist() == [0.5, 0.5]
    assert record.measures["se"].tolist() == [pytest.approx(math.nan, nan_ok=True), 0.01]
    assert (record.settings, record.data, record.examples) == ({"seed": 0}, "images", 3)
    assert (record.omissions, record.notes) == (("no",), ())


@pytest.mark.parametrize(
    "given",
    [
        "",
        '{"format": 1, "measures": [',
        [],
        {"format": 2, "measures": [ROW]},
        {"format": 1},
        {"format": 1, "measures": [{**ROW, "value": None}]},
        {"format": 1, "measures": [{**ROW, "metric": 3}]},
        {"format": 1, "measures": [{**ROW, "strength": "strong"}]},
        {"format": 1, "measures": ["loss"]},
        "[" * 100_000,
    ],
)
def test_what_cannot_be_read_is_no_record(tmp_path, given):
    assert write(tmp_path, given) is None


def test_nothing_is_no_record(tmp_path):
    assert read_record(tmp_path) is None


def test_a_run_of_which_nothing_was_finite(tmp_path):
    record = write(tmp_path, {"format": 1, "measures": []})
    assert list(record.measures) == [*COLUMNS]
    assert record.measures.empty
