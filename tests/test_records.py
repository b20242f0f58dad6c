import errno
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_dice.records import PENDING, RollLog, RollRecord, Tally, read_rolls
from lightning_dice.rules import Outcome, Roll, Roller, SavingThrow, SettingError

HEADER = "step,batch,optimizer,slot,natural,total,outcome,scale\n"
ROLLER = Roller(SavingThrow("d20+1", 12), seed=0)


def record(batch):
    roll = ROLLER.roll(batch)
    return RollRecord(batch // 2, batch, 0, 0, *roll)


def records(start, stop):
    return [record(batch) for batch in range(start, stop)]


def write(path, rolls, next_batch=0):
    log = RollLog()
    log.open(path, next_batch)
    for roll in rolls:
        log.append(roll)
    log.close()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run" / "rolls.csv"


def test_the_file_says_what_was_rolled(path):
    write(path, records(0, 20))
    first, second = path.read_text().splitlines(keepends=True)[:2]
    assert first == HEADER
    assert second == "0,0,0,0,20,21,critical_success,1.0\n"
    assert list(read_rolls(path)) == records(0, 20)
    assert {roll.roll for roll in read_rolls(path)} == {ROLLER.roll(step) for step in range(20)}


@given(scale=st.none() | st.floats(allow_nan=False, allow_infinity=False))
def test_scales_survive_the_file_to_the_last_bit(tmp_path_factory, scale):
    path = tmp_path_factory.mktemp("run") / "rolls.csv"
    roll = RollRecord(3, 7, 1, 2, 4, 5, Outcome.FAILURE, scale)
    write(path, [roll])
    [read] = read_rolls(path)
    assert read == roll
    assert type(read.outcome) is Outcome


def test_reaches_the_file_in_batches_and_at_the_latest_with_close(path):
    log = RollLog()
    log.open(path, 0)
    for roll in records(0, PENDING - 1):
        log.append(roll)
    assert path.read_text() == HEADER
    log.append(record(PENDING - 1))
    assert list(read_rolls(path)) == records(0, PENDING)
    log.append(record(PENDING))
    log.flush()
    log.flush()
    assert list(read_rolls(path)) == records(0, PENDING + 1)
    log.append(record(PENDING + 1))
    log.close()
    assert list(read_rolls(path)) == records(0, PENDING + 2)
    log.append(record(0))
    log.close()
    assert list(read_rolls(path)) == records(0, PENDING + 2)


@pytest.mark.parametrize("next_batch", [1, 5, 10, 15])
def test_a_resumed_run_has_neither_gap_nor_repeat(path, next_batch):
    write(path, records(0, 10))
    write(path, records(next_batch, 20), next_batch)
    expected = records(0, min(next_batch, 10)) + records(next_batch, 20)
    assert list(read_rolls(path)) == expected
    assert [p.name for p in path.parent.iterdir()] == ["rolls.csv"]


def test_a_run_resumed_in_another_folder_starts_there(path):
    write(path, records(5, 8), next_batch=5)
    assert list(read_rolls(path)) == records(5, 8)


def test_reopening_keeps_to_the_training_state_although_rolls_were_pending(path):
    log = RollLog()
    log.open(path, 0)
    for roll in records(0, 10):
        log.append(roll)
    log.open(path, 4)  # an interrupted fit, gone on from an earlier checkpoint
    for roll in records(4, 8):
        log.append(roll)
    log.close()
    assert list(read_rolls(path)) == records(0, 8)


def test_a_new_run_moves_earlier_ones_aside_and_loses_none(path):
    runs = [records(0, n) for n in (3, 4, 5)]
    for run in runs:
        write(path, run)
    aside = [path.with_name(name) for name in ("rolls.1.csv", "rolls.2.csv", "rolls.csv")]
    assert [list(read_rolls(p)) for p in aside] == runs
    assert sorted(path.parent.iterdir()) == aside


@pytest.mark.parametrize("cut", range(1, 9))
def test_a_last_line_cut_short_by_a_crash_is_left_out(path, cut):
    write(path, records(0, 5))
    path.write_text(path.read_text()[:-cut])
    assert list(read_rolls(path)) == records(0, 4)
    write(path, records(4, 6), next_batch=4)
    assert list(read_rolls(path)) == records(0, 6)


@pytest.mark.parametrize("text", ["", HEADER, HEADER[:9]])
def test_a_file_without_rolls(path, text):
    path.parent.mkdir()
    path.write_text(text)
    assert list(read_rolls(path)) == []


@pytest.mark.parametrize(
    "content", [b"epoch,loss\n0,1.5\n", b"\n", HEADER[5:].encode(), b"\xff\xfe\x00\n\x00"]
)
def test_a_file_of_another_kind_is_refused_and_left_as_it_is(path, content):
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(SettingError, match=r"rolls=.*rolls\.csv': expected columns step,batch,opt"):
        RollLog().open(path, next_batch=3)
    assert path.read_bytes() == content
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    "row",
    [
        "0,0,0,0,20,21",
        "0,0,0,0,20,21,fumble,1.0",
        "0,0,0,0,20,x,success,1.0",
        "0,0,0,0,20,21,success,one",
        "0,0,0,0,20,21,success,0.50,1,0,0,3,4,failure,-0.5",
    ],
)
def test_a_row_that_is_no_roll_is_named_by_its_line(path, row):
    write(path, records(0, 1))
    with path.open("a") as file:
        file.write(f"{row}\n")
    with pytest.raises(SettingError) as caught:
        list(read_rolls(path))
    assert caught.value.remedy == f"line 3 is not a roll: {row}"


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "run").write_text("a file where a folder should be")
    log = RollLog()
    with pytest.raises(SettingError, match=r"folder='.*/run': rolls.csv cannot be written there"):
        log.open(tmp_path / "run" / "rolls.csv", 0)
    log.append(record(0))  # goes on in memory
    assert list(log.recent) == records(0, 1)


def test_a_full_disk_leaves_the_old_file(path, monkeypatch):
    write(path, records(0, 5))

    def full(self, target):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(SettingError, match="No space left on device"):
        RollLog().open(path, 2)
    assert list(read_rolls(path)) == records(0, 5)


def test_memory_is_bounded_and_the_tallies_are_not(path):
    for folder in (None, path):
        log = RollLog(history=10)
        if folder:
            log.open(folder, 0)
        for roll in records(0, 1000):
            log.append(roll)
        assert list(log.recent) == records(990, 1000)
        assert log.tally.rolls == 1000
        assert len(log._pending) < PENDING
        log.close()
    assert len(list(read_rolls(path))) == 1000


@pytest.mark.parametrize("left", [0, 3, 9])
def test_a_file_that_lost_rolls_is_refused_and_left_alone(path, left):
    write(path, records(0, left))
    before = path.read_bytes()
    with pytest.raises(SettingError, match=r"training goes on with step 14; move the file away"):
        RollLog().open(path, next_batch=14, next_step=14)
    assert path.read_bytes() == before


def test_a_file_that_cannot_be_read_is_refused_with_the_remedy(path):
    write(path, records(0, 3))
    path.write_text(path.read_text() + "not,a,roll\n")
    with pytest.raises(SettingError, match="is not a roll: not,a,roll; move the file away"):
        RollLog().open(path, next_batch=3, next_step=3)


def test_a_full_disk_leaves_whole_rows_and_loses_nothing(path, monkeypatch):
    log = RollLog()
    log.open(path, next_batch=0)
    for roll in records(0, 3):
        log.append(roll)
    log.flush()

    def half_a_row(file, rows):
        file.write("3,3,0,0,1")
        file.flush()
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr("lightning_dice.records._write_rows", half_a_row)
        log.append(record(3))
        with pytest.raises(SettingError, match="No space left on device"):
            log.flush()
    assert [roll.batch for roll in read_rolls(path)] == [0, 1, 2]
    log.close()
    assert [roll.batch for roll in read_rolls(path)] == [0, 1, 2, 3]


def test_a_reset_forgets_but_keeps_the_file(path):
    log = RollLog()
    log.open(path, next_batch=0)
    log.append(record(0))
    log.reset()
    assert (log.tally.rolls, list(log.recent)) == (0, [])
    assert len(list(read_rolls(path))) == 1


def test_tally():
    tally = Tally()
    assert (tally.rolls, tally.mean_scale) == (0, None)
    for roll in (
        Roll(1, 1, Outcome.CRITICAL_FAILURE, None),
        Roll(5, 5, Outcome.FAILURE, -0.25),
        Roll(16, 16, Outcome.SUCCESS, 0.75),
        Roll(20, 20, Outcome.CRITICAL_SUCCESS, 1.0),
    ):
        tally.add(roll)
    assert tally.counts == dict.fromkeys(Outcome, 1)
    assert tally.mean_scale == 1.5 / 4


def test_tallies_go_on_where_a_checkpoint_left_them():
    whole, first, second = RollLog(), RollLog(), RollLog()
    for roll in records(0, 50):
        whole.append(roll)
    for roll in records(0, 30):
        first.append(roll)
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    assert second.state_dict() == first.state_dict()
    for roll in records(30, 50):
        second.append(roll)
    assert second.tally.counts == whole.tally.counts
    assert second.tally.mean_scale == pytest.approx(whole.tally.mean_scale, abs=1e-12)
    assert first.tally.rolls == 30  # the state is a copy
