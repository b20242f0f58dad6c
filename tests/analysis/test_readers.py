import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_dice.analysis.readers import (
    OUTCOMES,
    Rolls,
    read_metrics,
    read_roll_table,
    read_slots,
)
from lightning_dice.records import RollRecord
from lightning_dice.rules import Outcome

RECORDS = st.lists(
    st.builds(
        RollRecord,
        step=st.integers(0, 10**6),
        batch=st.just(0),
        optimizer=st.just(0),
        slot=st.just(0),
        natural=st.just(1),
        total=st.just(1),
        outcome=st.sampled_from(OUTCOMES),
        scale=st.none() | st.floats(-3, 3) | st.sampled_from([-1.0, 0.0, -0.0, 1.0]),
    ),
    max_size=60,
)
HEADER = ",".join(RollRecord._fields) + "\n"


def kind_of(scale):
    """The kind of one scale, decided one case at a time."""
    if scale is None:
        return "discard"
    if scale < 0:
        return "inverse"
    if scale == 0:
        return "zero"
    if scale < 1:
        return "partial"
    return "unchanged" if scale == 1 else "amplified"


@given(records=RECORDS)
def test_the_columns_say_what_the_records_say(records):
    rolls = Rolls.of(records)
    assert len(rolls) == len(records)
    assert rolls.step.tolist() == [r.step for r in records]
    assert [OUTCOMES[i] for i in rolls.outcome] == [r.outcome for r in records]
    assert [None if math.isnan(s) else s for s in rolls.scale] == [r.scale for r in records]
    assert rolls.counts() == {o: sum(r.outcome is o for r in records) for o in Outcome}


@given(records=RECORDS)
def test_every_roll_is_of_exactly_one_kind(records):
    kinds = Rolls.of(records).kinds()
    told = [kind_of(r.scale) for r in records]
    assert kinds == {kind: told.count(kind) for kind in kinds}
    assert sum(kinds.values()) == len(records)


@given(records=RECORDS)
def test_a_discard_counts_as_zero_in_the_mean(records):
    mean = Rolls.of(records).mean_scale
    if records:
        assert mean == pytest.approx(sum(r.scale or 0 for r in records) / len(records), abs=1e-12)
    else:
        assert mean is None


def test_a_whole_file_leaves_nothing_out(make_run, rolled):
    records = rolled(50)
    rolls, omissions = read_roll_table(make_run(records=records) / "rolls.csv")
    assert omissions == []
    assert rolls.mean_scale == Rolls.of(records).mean_scale


@pytest.mark.parametrize(
    ("text", "count", "omission"),
    [
        (None, 0, "rolls.csv is missing"),
        ("", 0, "rolls.csv is empty"),
        (HEADER, 0, "rolls.csv holds no rolls"),
        (HEADER[:-4], 0, "rolls.csv is cut short; its last line is left out"),
        (HEADER + "0,0,0,0,17,17,success,0.85\n1,1,0,0,17,17,suc", 1, "cut short"),
        (HEADER + "0,0,0,0,17,17,success,0.85\n1,1,0,0,xx\n", 1, "up to roll 1"),
        (HEADER + "0,0,0,0,17,17,success,0.85\n1,1,0,0,9,9,success,nan\n", 1, "up to roll 1"),
        (HEADER + "0,0,0,0,17,17,success,inf\n", 0, "up to roll 0"),
        (HEADER + f"{10**30},0,0,0,17,17,success,1\n", 0, "up to roll 0"),
        ("a,b,c\n1,2,3\n", 0, "expected columns step,batch"),
    ],
)
def test_rolls_are_read_as_far_as_they_go(tmp_path, text, count, omission):
    path = tmp_path / "rolls.csv"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    rolls, omissions = read_roll_table(path)
    assert len(rolls) == len(rolls.scale) == len(rolls.outcome) == count
    assert len(omissions) == 1
    assert omission in omissions[0]


@given(records=RECORDS)
def test_places_are_those_of_the_records_in_order(records):
    records = [r._replace(optimizer=r.step % 2, slot=r.step % 3) for r in records]
    rolls = Rolls.of(records)
    assert list(rolls.places) == sorted({(r.optimizer, r.slot) for r in records})
    assert [rolls.places[i] for i in rolls.place] == [(r.optimizer, r.slot) for r in records]
    assert rolls.several == any(
        len({r.slot for r in records if r.optimizer == optimizer}) > 1 for optimizer in (0, 1)
    )
    if records:
        counts, means = rolls.place_means()
        for place, count, mean in zip(rolls.places, counts, means, strict=True):
            here = [r.scale or 0 for r in records if (r.optimizer, r.slot) == place]
            assert count == len(here)
            assert mean == pytest.approx(sum(here) / len(here), abs=1e-12)


def test_the_mean_of_a_step_is_that_of_its_rolls(record):
    records = [record(3, 1.0), record(3, None, slot=1), record(7, -0.5)]
    steps, means = Rolls.of(records).step_means()
    assert steps.tolist() == [3, 7]
    assert means.tolist() == [0.5, -0.5]


@pytest.mark.parametrize(
    ("text", "slots", "omission"),
    [
        (None, {}, "slots.csv is missing"),
        ("", {}, "slots.csv is empty"),
        ("optimizer,slot,parameter\n", {}, "slots.csv holds no slots"),
        (
            "optimizer,slot,parameter\n0,2,a.b\n0,2,c\n1,0,\n",
            {(0, 2): ["a.b", "c"], (1, 0): [""]},
            "",
        ),
        ("optimizer,slot,parameter\n0,2,a\n0,3,b", {(0, 2): ["a"]}, "slots.csv is cut short"),
        ("optimizer,slot,parameter\n0,2,a\n0,x,b\n", {(0, 2): ["a"]}, "has 1 row that cannot"),
        ("a,b\n1,2\n", {}, "has 1 row that cannot be read"),
    ],
)
def test_slots_are_read_as_far_as_they_go(tmp_path, text, slots, omission):
    path = tmp_path / "slots.csv"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    read, omissions = read_slots(path)
    assert read == slots
    assert len(omissions) == bool(omission)
    assert omission in "".join(omissions)


def test_bytes_that_are_no_text(tmp_path):
    path = tmp_path / "rolls.csv"
    path.write_bytes(HEADER.encode() + b"\xff\xfe\x00\n")
    rolls, omissions = read_roll_table(path)
    assert len(rolls) == 0
    assert "can be read up to roll 0" in omissions[0]
    (tmp_path / "metrics.csv").write_bytes(b"epoch,step,val_loss\n0,1,\xff\n")
    metrics, omissions = read_metrics(tmp_path / "metrics.csv")
    assert metrics == {}
    assert omissions == ["metrics.csv has 1 cell that cannot be read"]


def test_metrics_keep_the_points_that_were_logged(tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_text(
        "epoch,lr-SGD,step,train_loss,val_loss\r\n"
        "0,0.1,9,2.5,\r\n0,,19,2.0,\r\n0,,19,,2.1\r\n1,,5,9.0,\r\n",
        encoding="utf-8",
    )
    metrics, omissions = read_metrics(path)
    assert omissions == []
    assert set(metrics) == {"lr-SGD", "train_loss", "val_loss"}
    assert metrics["train_loss"].step.tolist() == [5, 9, 19]
    assert metrics["train_loss"].value.tolist() == [9.0, 2.5, 2.0]
    assert metrics["val_loss"].step.tolist() == [19]


def test_a_step_logged_twice_keeps_its_order(tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_text("step,val_loss\n7,3\n7,2\n7,1\n", encoding="utf-8")
    metrics, _ = read_metrics(path)
    assert metrics["val_loss"].value.tolist() == [3, 2, 1]


@pytest.mark.parametrize(
    ("text", "points", "omission"),
    [
        (None, 0, "metrics.csv is missing"),
        ("", 0, "metrics.csv is empty"),
        ("epoch,step,val_loss\n", 0, "metrics.csv holds no metrics"),
        ("epoch,step,val_loss\n0,1,2\n0,2,1.", 1, "metrics.csv is cut short"),
        ("epoch,step,val_loss\n0,1,2\n0,2,abc\n", 1, "has 1 cell that cannot be read"),
        ("epoch,step,val_loss\n0,,5\n0,2,3\n", 1, "has 1 cell that cannot be read"),
        ("epoch,step,val_loss\n0,1e400,5\n0,2,3\n", 1, "has 1 cell that cannot be read"),
        ("epoch,step,val_loss\n0,1e30,5\n0,2,3\n", 1, "has 1 cell that cannot be read"),
        ("epoch,val_loss\n0,5\n", 0, "has 1 cell that cannot be read"),
    ],
)
def test_metrics_are_read_as_far_as_they_go(tmp_path, text, points, omission):
    path = tmp_path / "metrics.csv"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    metrics, omissions = read_metrics(path)
    assert sum(len(series.step) for series in metrics.values()) == points
    assert len(omissions) == 1
    assert omission in omissions[0]


@given(cut=st.integers(0, 400))
def test_a_file_cut_anywhere_gives_its_whole_lines(cut, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "cut.csv"
    text = HEADER + "".join(f"{i},{i},0,0,17,17,success,0.85\n" for i in range(12))
    path.write_text(text[:cut], encoding="utf-8")
    rolls, omissions = read_roll_table(path)
    assert len(rolls) == max(text[:cut].count("\n") - 1, 0)
    # Cut inside a line, or before any roll: either way the reader says so.
    assert bool(omissions) == (len(rolls) == 0 or text[:cut][-1] != "\n")


def test_only_finite_points_are_drawn(tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_text("step,val_loss\n1,3\n2,nan\n3,inf\n4,1\n", encoding="utf-8")
    metrics, omissions = read_metrics(path)
    assert omissions == []
    assert np.isnan(metrics["val_loss"].value[1])
    assert metrics["val_loss"].finite.step.tolist() == [1, 4]
    assert metrics["val_loss"].finite.value.tolist() == [3, 1]


def test_a_folder_in_a_files_place_is_named(tmp_path):
    (tmp_path / "rolls.csv").mkdir()
    (tmp_path / "metrics.csv").mkdir()
    assert "rolls.csv" in read_roll_table(tmp_path / "rolls.csv")[1][0]
    assert "metrics.csv" in read_metrics(tmp_path / "metrics.csv")[1][0]
