"""Which jobs a sweep has, and what their folders are called."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_dice.app.sweeps.plan import LONGEST, folder_name, one_of_each, plan

KEYS = st.sampled_from(["seed", "optimizer", "optimizer.lr", "+model.width", "dice.target"])
GRIDS = st.dictionaries(
    KEYS, st.lists(st.sampled_from("abcde"), min_size=1, max_size=4, unique=True), max_size=4
)


@given(GRIDS)
def test_every_combination_is_one_job(grid):
    jobs = plan(grid, named=grid)
    expected = {
        tuple(f"{key}={value}" for key, value in zip(grid, values, strict=True))
        for values in product(*grid.values())
    }
    assert {job.overrides for job in jobs} == expected
    assert len(jobs) == len({job.name for job in jobs}) == len(expected)


@given(GRIDS)
def test_one_of_each_has_every_override_and_no_job_in_vain(grid):
    jobs = plan(grid, named=grid)
    few = one_of_each(jobs)
    assert {o for job in few for o in job.overrides} == {o for job in jobs for o in job.overrides}
    assert len(few) <= max(1, sum(len(values) for values in grid.values()))


def test_only_what_differs_is_in_a_name():
    grid = {"trainer.max_steps": ["7"], "seed": ["0", "1"]}
    assert [job.name for job in plan(grid, named=[])] == ["seed=0", "seed=1"]
    named = plan({**grid, "seed": ["0"]}, named=["seed"])
    assert [job.name for job in named] == ["seed=0"]
    assert [job.name for job in plan({"seed": ["0"]}, named=[])] == ["run"]


def test_keys_that_share_their_last_word_are_named_in_full():
    grid = {"model.dropout": ["0", "1"], "other.dropout": ["2", "3"], "optimizer.lr": ["4", "5"]}
    assert plan(grid, named=[])[0].name == "model.dropout=0,other.dropout=2,lr=4"


@pytest.mark.parametrize(
    ("control", "jobs"),
    [
        ("none", 2 * 2 * 2 * 2),
        ("gaussian", 2 * 2 * 2 * 2),
        ("deck", 2 * 2 * 2 * 2),
        ("plain_mean", 2 * 2),  # dice of no target, but of a threshold
        ("plain_rms", 2 * 2),
        ("plain", 2),
    ],
)
def test_a_control_is_trained_once_for_all_that_it_makes_no_use_of(control, jobs):
    grid = {
        "control": [control],
        "saving_throw.threshold": ["5", "10"],
        "dice.target": ["gradient", "update"],
        "scope": ["model", "tensor"],
        "seed": ["0", "1"],
    }
    assert len(plan(grid, named=["control"])) == jobs


def test_what_is_not_of_dice_is_kept_for_all_of_them():
    grid = {"control": ["plain"], "optimizer": ["sgd", "adamw"], "diet": ["a", "b"]}
    assert len(plan(grid, named=[])) == 4


@given(st.lists(st.text(min_size=1), min_size=1, max_size=5))
def test_names_are_such_as_any_file_system_takes(parts):
    name = folder_name(parts)
    assert 0 < len(name) <= LONGEST
    assert not set(name) & set("/\\'\":*?<>|")


def test_values_that_a_file_system_cannot_tell_apart_have_folders_of_their_own():
    grid = {"dice.include": ["['a/*']", "['a?*']", "['b']"]}
    names = [job.name for job in plan(grid, named=[])]
    assert names[2] == "include=b"
    assert len({*names}) == 3
    assert all(name.startswith("include=a__-") for name in names[:2])


def test_long_names_that_differ_stay_apart():
    names = {folder_name(["x" * 300 + end]) for end in "abc"}
    assert len(names) == 3
