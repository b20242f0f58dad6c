import pytest

from lightning_dice.analysis.sweep import Sweep
from lightning_dice.analysis.tolerance.subjects import subjects_of
from lightning_dice.rules import SavingThrow, SettingError

CLIP, LR = "trainer.gradient_clip_val", "optimizer.lr"


def names(folder, *settings):
    """The names of runs that have these settings, with their optimizer before them."""
    for optimizer, own in settings:
        folder.add(0.9, optimizer=optimizer, settings=own)
    return sorted(subject.name for subject in subjects_of(Sweep.load(folder.path)))


def test_one_is_named_by_its_optimizer(folder):
    assert names(folder, ("pure_sgd", {})) == ["SGD, no momentum"]


def test_clipping_is_said_where_it_differs_and_the_learning_rate_is_not(folder):
    given = [("sgd", 1.0, 0.1), ("sgd", None, 0.3), ("muon", 1.0, 0.1), ("muon", None, 0.1)]
    found = names(folder, *((one, {CLIP: clip, LR: lr}) for one, clip, lr in given))
    assert found == [
        *("Muon (clipped)", "Muon (not clipped)", "SGD (clipped)", "SGD (not clipped)"),
    ]


def test_several_bounds_are_named(folder):
    found = names(folder, *(("rmsprop", {CLIP: clip}) for clip in (None, 0.5, 1)))
    expected = ["clipped at 0.5", "clipped at 1", "not clipped"]
    assert found == [f"RMSprop ({clipping})" for clipping in expected]


def test_a_learning_rate_names_only_what_nothing_else_does(folder):
    found = names(folder, *(("adamw", {CLIP: 1.0, LR: lr}) for lr in (0.1, 0.3)))
    assert found == ["AdamW (lr 0.1)", "AdamW (lr 0.3)"]


def test_other_settings_come_before_the_learning_rate(folder):
    given = [("adamw", {LR: lr, "trainer.max_steps": steps}) for lr, steps in ((1, 10), (2, 20))]
    assert names(folder, *given) == ["AdamW (max_steps 10)", "AdamW (max_steps 20)"]


def test_whole_names_are_distinct_and_lines_join_the_clippings(folder):
    for optimizer in ("sgd", "adafactor"):
        for clip in (1.0, None):
            folder.add(0.9, optimizer=optimizer, settings={CLIP: clip})
    subjects = subjects_of(Sweep.load(folder.path))
    assert len({subject.name for subject in subjects}) == 4
    assert {subject.line for subject in subjects} == {"SGD", "Adafactor"}


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"data": "python_docs"}, "cnn on digits, validation accuracy (000)"),
        ({"metric": "val_loss", "mode": "min"}, "cnn on digits, validation loss (001)"),
    ],
)
def test_several_tasks_are_refused(folder, more, said):
    accuracy = {"metric": "val_accuracy", "unit": "share right", "mode": "max"}
    folder.add(0.9)
    folder.add(0.9, task={**accuracy, **more})
    with pytest.raises(SettingError, match="give the folders of the runs of one") as refused:
        subjects_of(Sweep.load(folder.path))
    assert said in str(refused.value)


def test_another_setting_of_the_data_is_another_task(folder):
    for noise in (0.0, 0.2):
        folder.add(0.9, settings={"data.label_noise": noise})
    with pytest.raises(SettingError, match=r"data\.label_noise 0\.2, validation accuracy"):
        subjects_of(Sweep.load(folder.path))


def test_many_tasks_are_not_all_named(folder):
    for data in "abcde":
        task = {"data": data, "metric": "m", "unit": "", "mode": "max"}
        folder.add(0.9, task=task)
    with pytest.raises(SettingError, match="and 2 more"):
        subjects_of(Sweep.load(folder.path))


@pytest.mark.parametrize(
    ("runs", "reason"),
    [
        ([("plain", 5)], "no arm rolls dice"),
        ([("none", 5), ("none", 8)], "no plain run with a value to hold dice against"),
        ([("plain", 5), ("none", 8)], "no dice with two thresholds or more"),
    ],
)
def test_nothing_to_test(folder, load, runs, reason):
    for control, threshold in runs:
        folder.add(0.9, control=control, throw=SavingThrow("d20", threshold))
    with pytest.raises(SettingError, match="there is nothing to test") as refused:
        load(folder)
    assert f"({reason})" in str(refused.value)
    assert "control=plain" in str(refused.value)


def test_plain_runs_that_all_diverged_are_none(folder, load):
    folder.add(None, control="plain")
    for threshold in (5, 8):
        folder.add(0.9, throw=SavingThrow("d20", threshold))
    with pytest.raises(SettingError, match="no plain run with a value"):
        load(folder)


def test_an_optimizer_that_cannot_be_tested_is_left_out_and_named(folder, load):
    for threshold in (5, 8):
        folder.arm([0.9, 0.9], throw=SavingThrow("d20", threshold))
        folder.arm([0.9], throw=SavingThrow("d20", threshold), optimizer="muon")
    folder.arm([0.9], control="plain")
    study = load(folder)
    assert [subject.name for subject in study.subjects] == ["SGD"]
    assert [(one.path, one.reason) for one in study.sweep.left_out] == [
        ("Muon", "no plain run with a value to hold dice against"),
        ("SGD, seed 1", "has no plain run with a value"),
    ]
