import math
import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import stats

from lightning_dice.analysis import Run, paragraph
from lightning_dice.analysis.words import (
    against_baseline,
    arm,
    beats_baseline,
    caution,
    ending,
    fates,
    luck,
    result,
    rolling,
    scale,
    shown,
    signal,
)
from lightning_dice.rules import Outcome, SavingThrow

ADAMW = {"name": "AdamW", "response": "rescales"}
MOMENTUM = {"name": "SGD", "response": "momentum"}
LINEAR = {"name": "SGD", "response": "linear"}
NEW = {"name": "Novel", "response": "unknown"}


def plain(text):
    return text.replace("\N{NO-BREAK SPACE}", " ").replace("\N{MINUS SIGN}", "-")


def load(folder):
    return Run.load(folder)


def test_the_whole_paragraph_of_an_ordinary_run(make_run, rolled):
    records = rolled(600)
    scales = [r.scale for r in records]
    back = sum(s is not None and s < 0 for s in scales)
    part = sum(s is not None and 0 < s < 1 for s in scales)
    full = scales.count(1.0)
    lost = scales.count(None)
    counts = [sum(r.outcome is o for r in records) for o in Outcome]
    p = stats.chisquare(counts, [30, 240, 300, 30]).pvalue
    assert plain(paragraph(load(make_run(records=records, optimizers=[ADAMW])))) == (
        "A d20 was rolled 600 times against a threshold of 10, one roll for the gradient of each "
        f"update. {lost} gradients ({lost / 6:.1f} %) were discarded, {back} ({back / 6:.1f} %) "
        f"reversed, {part} ({part / 6:.1f} %) partial and {full} ({full / 6:.1f} %) full. The "
        f"observed scale was {sum(s or 0 for s in scales) / 600:.3f}, and the expected scale is "
        f"0.323. The luck was ordinary: fair dice stray at least this far from the odds in "
        f"{100 * p:.0f} % of such runs. The odds leave about as much signal as keeping 30 % of the "
        "gradients and discarding the rest. These are scales of gradients. AdamW rescales "
        "gradients by their own size: the weights moved by other factors. val_loss came to 1.93 "
        "nats/byte, 0.39 below the bigram baseline of 2.32 (lower is better)."
    )


CONTROLS = {
    "plain_mean": "it trained without dice, the learning rate times their mean scale, 0.323",
    "plain_rms": "it trained without dice, the learning rate times the root mean square of their "
    "scales, 0.323",
    "gaussian": "a Gaussian factor with their mean and mean square, as a die of many faces",
    "deck": "the same faces, dealt from a shuffled deck",
}


def a_control(name, of=("d20", 10), lr_factor=0.3225):
    whose = None if of is None else {"die": of[0], "threshold": of[1]}
    return {"name": name, "of": whose, "lr_factor": lr_factor}


@pytest.mark.parametrize(("name", "what"), CONTROLS.items())
def test_a_control_says_what_it_is_a_control_for(name, what, make_run, rolled):
    run = load(make_run(records=rolled(60), control=a_control(name)))
    assert arm(run) == f"This run is a control for a d20 against 10: {what}."
    assert arm(run) in paragraph(run)


def test_what_trained_without_dice_says_nothing_of_rolls(make_run, rolled):
    run = load(make_run(records=rolled(60), control=a_control("plain", of=None, lr_factor=1.0)))
    assert plain(paragraph(run)) == (
        "This run is a control: it trained without dice, every update in full. val_loss came to "
        "1.93 nats/byte, 0.39 below the bigram baseline of 2.32 (lower is better)."
    )


@pytest.mark.parametrize("control", [None, {}, {"name": "none"}, {"name": 3}, "plain"])
def test_dice_as_they_are_are_no_control(control, make_run):
    assert arm(load(make_run(control=control))) == ""


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(scales=st.lists(st.sampled_from([None, -1.5, -0.3, 0.0, 0.4, 1.0, 1.7]), min_size=1))
def test_every_roll_is_told_of_once(scales, make_run, record):
    records = [record(step, s) for step, s in enumerate(scales)]
    text = fates(load(make_run(records=records, rows=[])))
    if set(scales) == {None}:
        assert "discarded: the dice let nothing through" in text
        return
    told = re.findall(r"(\d+)(?: gradients?)? \(", text)
    assert sum(map(int, told)) == len(scales)
    words = {
        "discarded": scales.count(None),
        "reversed": sum(s is not None and s < 0 for s in scales),
        "scaled to 0": scales.count(0.0),
        "partial": scales.count(0.4),
        "full": scales.count(1.0),
        "amplified": scales.count(1.7),
    }
    for word, count in words.items():
        assert (word in text) == (count > 0)
        if count:
            assert re.search(rf"\b{count}\b[^,]*{word}", text)


def test_singular_and_plural(make_run, record):
    records = [record(0, None), record(1, 0.5), record(2, 0.5)]
    assert plain(fates(load(make_run(records=records)))) == (
        "1 gradient (33.3 %) was discarded and 2 (66.7 %) partial."
    )
    one = load(make_run("one", records=[record(0, 1.0)], steps=1))
    assert "was rolled once against" in rolling(one)
    assert plain(fates(one)) == "1 gradient (100 %) was full."


def test_no_rolls(make_run):
    run = load(make_run(records=[], rows=[]))
    text = paragraph(run)
    assert text.startswith("No rolls are on record")
    assert fates(run) == caution(run) == ""
    assert "observed scale" not in text
    assert "luck" not in text
    assert "val_loss came to 1.93" in plain(text)


def test_every_update_discarded(make_run, record):
    run = load(make_run(records=[record(i, None, Outcome.CRITICAL_FAILURE) for i in range(40)]))
    assert fates(run) == "Every gradient was discarded: the dice let nothing through."
    assert scale(run).startswith("The observed scale was 0, and")
    single = load(make_run("one", records=[record(0, None)], dice={"target": "update"}))
    assert fates(single) == "The one update was discarded: the dice let nothing through."


@pytest.mark.parametrize(
    ("dice", "whose", "noun"),
    [
        (
            {"granularity": "per_mini_batch"},
            "one roll for the gradient of each mini-batch.",
            "mini-batch gradient",
        ),
        ({"target": "update"}, "one roll for each update.", "update"),
        ({}, "one roll for the gradient of each update.", "gradient"),
        (
            {"scope": "tensor"},
            "one roll for the gradient of each tensor at each update.",
            "tensor gradient",
        ),
        (
            {"scope": "param_group", "target": "update"},
            "one roll for each parameter group at each update.",
            "group update",
        ),
    ],
)
def test_rolls_are_of_what_was_rolled_for(make_run, record, dice, whose, noun):
    run = load(make_run(records=[record(0), record(1, -0.2), record(2)], dice=dice))
    assert rolling(run).endswith(whose)
    assert re.match(rf"1 {noun} \(33\.3", fates(run))


@pytest.mark.parametrize(
    ("more", "dice", "whose"),
    [
        (
            {"slots": 38},
            {"scope": "tensor", "target": "update"},
            "was rolled 228 times against a threshold of 10, one roll for each of 38 tensors at "
            "each update.",
        ),
        (
            {"slots": 2},
            {"scope": "param_group"},
            "one roll for the gradient of each of 2 parameter groups at each update.",
        ),
        (
            {"optimizers": 2},
            {"target": "update"},
            "one roll for each update of 2 optimizers.",
        ),
        (
            {"slots": 3, "optimizers": 2},
            {"scope": "tensor", "target": "update"},
            "one roll for each of 6 tensors of 2 optimizers at each update.",
        ),
    ],
)
def test_slots_and_optimizers_are_counted(make_run, rolled, more, dice, whose):
    run = load(make_run(records=rolled(6, **more), steps=6, dice=dice))
    assert rolling(run).endswith(whose)


def test_a_run_on_updates_says_nothing_of_gradients(make_run, rolled):
    dice = {"scope": "tensor", "target": "update"}
    text = plain(paragraph(load(make_run(records=rolled(30, slots=4), dice=dice))))
    assert "gradient" not in text
    assert re.search(r"\d+ tensor updates \(\d+\.\d %\) were discarded", text)
    assert "keeping 30 % of the tensor updates and discarding the rest" in text


@pytest.mark.parametrize(
    ("dice", "told"), [({}, False), ({"include": ["a"]}, True), ({"exclude": ["b"]}, True)]
)
def test_what_was_not_rolled_for_is_spoken_of(make_run, rolled, dice, told):
    run = load(make_run(records=rolled(9), steps=9, dice=dice))
    assert ("patterns leave out were not rolled for" in paragraph(run)) == told


def test_mini_batches_are_plural_too(make_run, rolled):
    records = rolled(30, batches=2)
    text = paragraph(load(make_run(records=records, dice={"granularity": "per_mini_batch"})))
    assert "rolled 60 times" in text
    assert "mini-batch gradients" in text
    assert "update" not in text


def test_rolls_without_settings_claim_nothing_about_what_they_were_for(make_run, record):
    folder = make_run(records=[record(0, None), record(1, -0.5), record(2, 0.5)])
    (folder / "summary.json").unlink()
    text = plain(paragraph(load(folder)))
    assert text.startswith(
        "The die was rolled 3 times. Their effects: 1 discarded (33.3 %), 1 reversed (33.3 %) and "
        "1 partial (33.3 %). The observed scale was 0."
    )
    assert "update" not in text
    assert "gradient" not in text


def test_a_summary_alone_tells_outcomes(make_run, record):
    records = [record(0, None, Outcome.CRITICAL_FAILURE), record(1), record(2), record(3)]
    folder = make_run(records=records)
    (folder / "rolls.csv").unlink()
    assert plain(fates(load(folder))) == (
        "The outcomes were 1 critical failure (25.0 %) and 3 successes (75.0 %)."
    )


@pytest.mark.parametrize(
    ("p", "starts", "contains"),
    [
        (1.0, "The luck was ordinary", "every such run"),
        (0.999, "The luck was ordinary", "over 99 % of such runs"),
        (0.47, "The luck was ordinary", "in 47 % of such runs"),
        (0.05, "The luck was ordinary", "in 5.0 % of such runs"),
        (0.049, "The luck was unusual", "in 4.9 % of such runs, which chance alone"),
        (0.0004, "The luck was very unusual", "under 0.1 % of such runs, so it is worth checking"),
        (0.0, "The luck was very unusual", "under 0.1 %"),
    ],
)
def test_luck_in_words(make_run, rolled, p, starts, contains):
    counts = {"count": 20, "outcomes": {}, "mean_scale": 0.3, "luck": p}
    text = plain(luck(load(make_run(records=rolled(20), rolls=counts))))
    assert text.startswith(starts)
    assert contains in text


def test_luck_that_was_not_tested_is_not_spoken_of(make_run, rolled):
    counts = {"count": 20, "outcomes": {}, "mean_scale": 0.3, "luck": None}
    assert luck(load(make_run(records=rolled(20), rolls=counts))) == ""


@pytest.mark.parametrize(
    ("throw", "says"),
    [
        (SavingThrow("d20", 10), "keeping 30 % of the gradients and discarding the rest."),
        (SavingThrow("d20", 5), "keeping 66 % of"),
        (SavingThrow("d20", 15), "keeping 0.37 % of the gradients and discarding the rest, and"),
        (SavingThrow("d20", 20), "push against training"),
        (SavingThrow("d4", 2, [None] * 4), "no roll lets anything through"),
        (SavingThrow("d4", 2, [-1, 1, -1, 1]), "above and below 0 cancel"),
        (SavingThrow("d4", 2, [1, 1, 1, 1]), "leave the signal of the gradients whole"),
        (SavingThrow("d20", 10, "skip", "mean"), "keeping 53 % of"),
    ],
)
def test_what_the_efficiency_means(make_run, rolled, throw, says):
    run = load(make_run(records=rolled(20, throw), throw=throw))
    assert says in plain(signal(run))


def test_only_odds_with_a_positive_mean_are_said_to_leave_signal(make_run, rolled):
    for threshold in range(1, 21):
        throw = SavingThrow("d20", threshold)
        text = signal(load(make_run(f"t{threshold}", records=rolled(5, throw), throw=throw)))
        assert ("as much signal" in text) == (throw.odds().mean > 0)
        assert ("rarely learns" in text) == (
            throw.odds().mean > 0 and throw.odds().efficiency < 0.02
        )


RESCALES = "AdamW rescales gradients by their own size: the weights moved by other factors."
MIXES = "SGD mixes past gradients into each step: the weights moved by a mixture of scales."
UNKNOWN = (
    "What Novel makes of a scaled gradient is not known: the weights may have moved by other "
    "factors."
)


@pytest.mark.parametrize(
    ("optimizers", "told"),
    [
        ([ADAMW], RESCALES),
        ([MOMENTUM], MIXES),
        ([NEW], UNKNOWN),
        ([{**NEW, "response": "of tomorrow"}], UNKNOWN),
        ([{**NEW, "response": ["linear"]}], UNKNOWN),
        ([ADAMW, ADAMW, LINEAR], RESCALES),
        ([ADAMW, MOMENTUM], f"{RESCALES} {MIXES}"),
        ([LINEAR], None),
        *(
            (nothing, "What the optimizer made of the scaled gradients is not recorded.")
            for nothing in (None, [], "AdamW", {"name": "AdamW"}, 3)
        ),
        (["AdamW"], UNKNOWN.replace("Novel", "the optimizer")),
        (
            [{"name": f"Mine{n}", "response": "rescales"} for n in range(99)],
            "How far the weights moved depends on what each optimizer makes of them.",
        ),
    ],
)
def test_of_scaled_gradients_it_is_said_how_the_weights_answered(
    make_run, rolled, optimizers, told
):
    run = load(make_run(records=rolled(20), optimizers=optimizers))
    assert caution(run) == ("" if told is None else f"These are scales of gradients. {told}")
    assert caution(run) in paragraph(run)
    on_updates = load(make_run("u", optimizers=optimizers, dice={"target": "update"}))
    assert caution(on_updates) == ""


def test_the_name_of_an_optimizer_says_nothing_about_its_steps(make_run, rolled):
    task = {"optimizer": "adamw", "metric": "val_loss"}
    run = load(make_run(records=rolled(20), task=task, optimizers=[LINEAR]))
    assert caution(run) == ""


@pytest.mark.parametrize("granularity", ["per_mini_batch", "per_accumulation_step", None])
@pytest.mark.parametrize("scope", ["model", "tensor"])
@pytest.mark.parametrize("threshold", [1, 10, 20])
def test_no_word_says_that_an_update_was_reversed_where_gradients_were_scaled(
    make_run, rolled, granularity, scope, threshold
):
    throw = SavingThrow("d20", threshold)
    dice = {"granularity": granularity, "scope": scope, "target": "gradient"}
    folder = make_run(records=rolled(60, throw), throw=throw, dice=dice, optimizers=[ADAMW])
    text = paragraph(load(folder)).split(" These are scales of gradients.")[0]
    assert not re.search(r"backward|forward|invers|invert|applied|step", text)
    assert not re.search(
        r"update", text.replace("of each update", "").replace("at each update", "")
    )


@pytest.mark.parametrize(
    ("status", "error", "text"),
    [
        ("finished", None, ""),
        (
            "failed",
            "Traceback:\n  x\nRuntimeError: boom\n\n",
            "The run failed after 123 steps (RuntimeError: boom).",
        ),
        ("failed", None, "The run failed after 123 steps."),
        ("interrupted", None, "The run was interrupted after 123 steps."),
        ("running", None, "The run had not ended when this was written at 123 steps."),
        (None, None, ""),
    ],
)
def test_how_it_ended(make_run, rolled, status, error, text):
    run = load(make_run(records=rolled(20), steps=123, status=status, error=error))
    assert ending(run) == text
    assert paragraph(run).startswith(text)


def test_a_step_is_singular(make_run, record):
    run = load(make_run(records=[record(0)], steps=1, status="interrupted"))
    assert ending(run) == "The run was interrupted after 1 step."


def test_a_run_that_did_not_finish_has_no_final_metric(make_run, rolled):
    run = load(make_run(records=rolled(20), status="failed"))
    assert "val_loss stood last at 1.93" in result(run)


@pytest.mark.parametrize(
    ("value", "base", "mode", "better", "text"),
    [
        (1.93, 2.32, "min", True, "0.39 below the bigram baseline of 2.32 (lower is better)"),
        (2.5, 2.32, "min", False, "0.18 above the bigram baseline of 2.32 (lower is better)"),
        (2.5, 2.32, "max", True, "0.18 above the bigram baseline of 2.32 (higher is better)"),
        (1.0, 2.32, "max", False, "1.3 below the bigram baseline of 2.32 (higher is better)"),
        (2.32, 2.32, "min", None, "level with the bigram baseline"),
        (2.319999933242798, 2.32, "min", None, "level with the bigram baseline"),  # float32
    ],
)
def test_the_standing_against_the_baseline(make_run, rolled, value, base, mode, better, text):
    task = {"metric": "val_loss", "mode": mode}
    baseline = {"name": "bigram", "value": base}
    parts = {"task": task, "baseline": baseline, "metrics": {"val_loss": value}}
    run = load(make_run(records=rolled(20), **parts))
    assert beats_baseline(run) is better
    assert text in plain(result(run))


def test_accuracies_are_percentages_and_their_gaps_are_points(make_run, rolled):
    task = {"metric": "val_accuracy", "unit": "accuracy", "mode": "max"}
    baseline = {"name": "majority", "value": 0.102}
    parts = {"task": task, "baseline": baseline, "metrics": {"val_accuracy": 0.964}}
    run = load(make_run(records=rolled(20), **parts))
    assert plain(result(run)) == (
        "val_accuracy came to 96.4 %, 86 percentage points above the majority baseline of 10.2 % "
        "(higher is better)."
    )


def test_missing_metrics(make_run, rolled):
    run = load(make_run(records=rolled(20), rows=[], metrics={}))
    assert result(run) == "There is no val_loss to report."
    assert against_baseline(run) == ""
    assert beats_baseline(run) is None


def test_a_training_without_metrics_names_none(make_own, rolled):
    assert result(load(make_own(records=rolled(20), rows=[]))) == "No metric is on record."


def test_a_metric_that_is_not_a_number(make_run, rolled):
    run = load(make_run(records=rolled(20), metrics={"val_loss": math.nan}))
    assert result(run) == "val_loss ended as NaN: training diverged."
    assert beats_baseline(run) is None


def test_no_baseline(make_run, rolled):
    run = load(make_run(records=rolled(20), baseline=None))
    assert result(run) == "val_loss came to 1.93 nats/byte."


def test_only_the_tasks_metric_has_the_tasks_unit(make_run, rolled):
    run = load(make_run(records=rolled(20)))
    assert shown(run, "val_loss", 1.5) == "1.50 nats/byte"
    assert shown(run, "train_loss", 1.5) == "1.50"
    assert plain(shown(run, "val_accuracy", 0.5)) == "50.0 %"
    assert shown(run, "val_accuracy", 50.0) == "50.0"
