import json
import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.collections import EventCollection, PathCollection
from matplotlib.colors import same_color
from matplotlib.figure import Figure
from scipy import stats

from lightning_dice.analysis import Expected, Rolls, Run, plots
from lightning_dice.analysis.messages import MARKS
from lightning_dice.analysis.plots.slots import means_over_steps
from lightning_dice.analysis.plots.strip import BINS, draw_strip, outcome_shares
from lightning_dice.analysis.readers import OUTCOMES
from lightning_dice.analysis.style import LOOKS, draw
from lightning_dice.records import RollRecord
from lightning_dice.rules import Outcome, SavingThrow


def lines(axes):
    return {line.get_label(): line for line in axes.lines}


def title(axes):
    return axes.get_title(loc="left").replace("\n", " ").replace("\N{NO-BREAK SPACE}", " ")


def strip(records):
    axes = Figure().subplots()
    draw_strip(axes, Rolls.of(records))
    return axes


# The loss.


def test_the_loss_carries_the_logged_points(make_run):
    rows = [{"step": s, "train_loss": 3 - s / 10} for s in range(9)]
    rows += [{"step": 4, "val_loss": 2.7}, {"step": 8, "val_loss": 2.4}]
    top, _ = plots.loss(Run.load(make_run(steps=9, rows=rows))).axes
    assert lines(top)["validation"].get_xydata().tolist() == [[4, 2.7], [8, 2.4]]
    assert lines(top)["training"].get_xdata().tolist() == list(range(9))
    assert lines(top)["training"].get_ydata() == pytest.approx([3 - s / 10 for s in range(9)])


def test_the_baseline_is_a_labelled_line(make_run):
    top, _ = plots.loss(Run.load(make_run())).axes
    assert list(lines(top)["baseline: bigram, 2.32 nats/byte"].get_ydata()) == [2.32, 2.32]
    assert [text.get_text() for text in top.get_legend().get_texts()] == list(lines(top))
    assert title(top) == (
        "Validation loss ended at 1.93 nats/byte, 0.39 below the bigram baseline of 2.32"
    )
    assert top.get_ylabel() == "loss (nats/byte)"


def test_a_baseline_of_another_metric_is_not_in_the_loss(make_run):
    task = {"metric": "val_accuracy", "mode": "max"}
    run = Run.load(make_run(task=task, baseline={"name": "majority", "value": 0.1}))
    top, _ = plots.loss(run).axes
    assert set(lines(top)) == {"training", "validation"}
    assert top.get_ylabel() == "loss"


def test_loss_and_rolls_share_their_steps(make_run):
    top, bottom = plots.loss(Run.load(make_run())).axes
    assert top.get_shared_x_axes().joined(top, bottom)
    assert bottom.get_xlabel() == "optimizer step"


def test_many_training_points_get_their_mean(make_run):
    rows = [{"step": s, "train_loss": 2 + (-1) ** s} for s in range(1000)]
    top, _ = plots.loss(Run.load(make_run(steps=20, rows=rows))).axes
    mean = lines(top)["training (mean of 1/50 of the run)"]
    assert mean.get_ydata() == pytest.approx(np.full(50, 2.0))
    assert mean.get_xdata() == pytest.approx(np.arange(50) * 20 + 9.5)


@pytest.mark.parametrize("high", [50, 5000])
def test_a_loss_that_blew_up_is_drawn_on_a_logarithmic_axis(make_run, high):
    rows = [{"step": 0, "val_loss": 1.0}, {"step": 1, "val_loss": high}]
    top, _ = plots.loss(Run.load(make_run(steps=9, rows=rows, baseline=None))).axes
    assert top.get_yscale() == ("log" if high == 5000 else "linear")


def test_points_that_are_no_numbers_are_left_out(make_run):
    rows = [{"step": s, "val_loss": v} for s, v in enumerate([3, math.nan, math.inf, 2])]
    run = Run.load(make_run(steps=9, rows=rows, metrics={"val_loss": math.nan}))
    top, _ = plots.loss(run).axes
    assert lines(top)["validation"].get_xydata().tolist() == [[0, 3], [3, 2]]
    assert title(top) == "Validation loss ended as NaN"


def test_no_loss(make_run):
    run = Run.load(make_run(steps=9, rows=[], metrics={}))
    top, bottom = plots.loss(run).axes
    assert "no loss was logged" in [text.get_text() for text in top.texts]
    assert title(top) == "No loss was logged"
    assert len(bottom.collections) == len(OUTCOMES)


def test_training_loss_by_epoch_will_do(make_run):
    rows = [{"step": 5, "train_loss_epoch": 1.5}]
    top, _ = plots.loss(Run.load(make_run(steps=9, rows=rows))).axes
    assert lines(top)["training"].get_xydata().tolist() == [[5, 1.5]]


# The strip.


@pytest.mark.parametrize("steps", [1, 50, MARKS])
def test_few_rolls_get_a_mark_each_in_the_lane_of_their_outcome(rolled, steps):
    records = rolled(steps)
    lanes = [c for c in strip(records).collections if isinstance(c, EventCollection)]
    assert len(lanes) == len(OUTCOMES)
    for lane, outcome in zip(lanes, OUTCOMES, strict=True):
        assert list(lane.get_positions()) == [r.step for r in records if r.outcome is outcome]
        assert same_color(lane.get_colors()[0], LOOKS[outcome].colour)
    assert len({lane.get_lineoffset() for lane in lanes}) == len(OUTCOMES)


def test_lanes_are_named(rolled):
    names = [text.get_text() for text in strip(rolled(9)).get_yticklabels()]
    assert names == ["critical failure", "failure", "success", "critical success"]


@pytest.mark.parametrize("records", [MARKS + 1, 20_000])
def test_many_rolls_become_shares(rolled, records):
    axes = strip(rolled(records))
    assert len(axes.patches) == len(OUTCOMES)
    assert [p.get_hatch() or "" for p in axes.patches] == [LOOKS[o].hatch for o in OUTCOMES]
    assert axes.patches[-1].get_data().values == pytest.approx(1)
    assert len(axes.patches[0].get_data().values) <= BINS


def test_several_rolls_a_step_become_shares(rolled):
    axes = strip(rolled(10, slots=4))
    assert not axes.collections
    assert len(axes.patches) == len(OUTCOMES)


def test_no_rolls_are_said_to_be_none():
    assert [text.get_text() for text in strip([]).texts] == ["no rolls are on record"]


@given(
    steps=st.lists(st.integers(0, 5000), min_size=1, max_size=300),
    pick=st.randoms(use_true_random=False),
)
def test_shares_count_every_roll_once(steps, pick):
    records = [RollRecord(s, 0, 0, 0, 1, 1, pick.choice(OUTCOMES), None) for s in sorted(steps)]
    edges, shares = outcome_shares(Rolls.of(records))
    assert edges[0] == min(steps)
    assert edges[-1] == max(steps) + 1
    inside = np.array([sum(a <= s < b for s in steps) for a, b in pairwise(edges)])
    assert inside.sum() == len(steps)
    assert shares[:, inside > 0].sum(axis=0) == pytest.approx(1)
    assert np.isnan(shares[:, inside == 0]).all()
    for outcome, share in zip(OUTCOMES, shares, strict=True):
        counted = sum(r.outcome is outcome for r in records)
        assert np.nansum(share * inside) == pytest.approx(counted)


# The outcomes.


def test_bars_are_the_counts_and_markers_the_expected(make_run, rolled):
    records = rolled(600)
    (axes,) = plots.outcomes(Run.load(make_run(records=records))).axes
    bars = axes.patches
    assert [bar.get_height() for bar in bars] == [
        sum(r.outcome is o for r in records) for o in OUTCOMES
    ]
    assert [bar.get_hatch() or "" for bar in bars] == [LOOKS[o].hatch for o in OUTCOMES]
    assert all(
        same_color(b.get_facecolor(), LOOKS[o].colour) for b, o in zip(bars, OUTCOMES, strict=True)
    )
    (errorbar,) = axes.containers[-1:]
    markers, _caps, (intervals,) = errorbar.lines
    assert markers.get_ydata() == pytest.approx([30, 240, 300, 30])
    for segment, p in zip(intervals.get_segments(), (0.05, 0.4, 0.5, 0.05), strict=True):
        law = stats.binom(600, p)
        assert segment[:, 1] == pytest.approx([law.ppf(0.025), law.ppf(0.975)])


def test_labels_say_the_numbers(make_run, record):
    records = [record(i, 0.5, Outcome.SUCCESS) for i in range(12)]
    (axes,) = plots.outcomes(Run.load(make_run(records=records))).axes
    labels = [text.get_text() for text in axes.get_xticklabels()]
    assert labels[2] == "success\n12 rolled\n6.00 expected"
    assert labels[0] == "critical failure\n0 rolled\n0.600 expected"


def test_without_odds_there_are_only_bars(make_run):
    (axes,) = plots.outcomes(Run.load(make_run(odds={}))).axes
    assert len(axes.patches) == 4
    assert not axes.lines


def test_outcomes_without_rolls(make_run):
    (axes,) = plots.outcomes(Run.load(make_run(records=[]))).axes
    assert not axes.patches
    assert title(axes) == "No rolls are on record"


@pytest.mark.parametrize(
    ("luck", "says"),
    [
        (0.86, "The outcomes fall as the odds have it (p = 0.86)"),
        (0.05, "The outcomes fall as the odds have it (p = 0.050)"),
        (0.01, "The outcomes stray further from the odds than they usually do (p = 0.010)"),
        (1e-9, "The outcomes stray further from the odds than they usually do (p under 0.001)"),
        (None, "What 600 rolls came to"),
    ],
)
def test_the_title_is_as_sure_as_the_test(make_run, luck, says):
    folder = make_run()
    summary = json.loads((folder / "summary.json").read_text("utf-8"))
    summary["rolls"]["luck"] = luck
    (folder / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    (axes,) = plots.outcomes(Run.load(folder)).axes
    assert title(axes) == says


# The scales.


def test_every_roll_is_a_dot_and_discards_have_a_lane(make_run, rolled):
    records = rolled(200)
    (axes,) = plots.scales(Run.load(make_run(records=records))).axes
    dots = {c.get_label(): c for c in axes.collections if isinstance(c, PathCollection)}
    assert list(dots) == [o.replace("_", " ") for o in OUTCOMES]
    lane = axes.get_yticks()[0]
    assert axes.get_yticklabels()[0].get_text() == "discard"
    assert lane < min(r.scale for r in records if r.scale is not None)
    for outcome in OUTCOMES:
        expected = [
            [r.step, lane if r.scale is None else r.scale] for r in records if r.outcome is outcome
        ]
        assert dots[outcome.replace("_", " ")].get_offsets().tolist() == expected


def test_markers_differ_by_outcome(make_run, rolled):
    (axes,) = plots.scales(Run.load(make_run(records=rolled(200)))).axes
    shapes = [c.get_paths()[0] for c in axes.collections if isinstance(c, PathCollection)]
    assert len({shape.vertices.tobytes() for shape in shapes}) == len(OUTCOMES)


def test_the_mean_so_far_ends_at_the_mean(make_run, rolled):
    records = rolled(300)
    (axes,) = plots.scales(Run.load(make_run(records=records))).axes
    mean = lines(axes)["mean of the rolls so far"].get_ydata()
    factors = [r.scale or 0 for r in records]
    assert mean == pytest.approx([np.mean(factors[: i + 1]) for i in range(300)])
    expected = lines(axes)["expected, 0.323; range of 95 % of runs"]
    assert list(expected.get_ydata()) == pytest.approx([0.3225, 0.3225])


def test_several_rolls_a_step_have_one_mean_a_step(make_run, rolled):
    records = rolled(10, slots=3)
    (axes,) = plots.scales(Run.load(make_run(records=records))).axes
    mean = lines(axes)["mean of the rolls so far"]
    assert mean.get_xdata().tolist() == list(range(10))
    assert mean.get_ydata()[0] == pytest.approx(np.mean([r.scale or 0 for r in records[:3]]))
    assert mean.get_ydata()[-1] == pytest.approx(np.mean([r.scale or 0 for r in records]))


def test_many_rolls_are_thinned_and_the_plot_says_so(make_run, rolled):
    (axes,) = plots.scales(Run.load(make_run(records=rolled(20_000)))).axes
    dots = sum(len(c.get_offsets()) for c in axes.collections if isinstance(c, PathCollection))
    assert dots == 1500
    note = [text.get_text().replace("\N{NO-BREAK SPACE}", " ") for text in axes.texts]
    assert note == ["1500 of 20 000 rolls drawn"]


@pytest.mark.parametrize(
    ("scales", "says"),
    [
        ([None, None], "Every roll is a discard"),
        ([0.5, None], "The observed scale is 0.250, expected 0.323"),
        ([], "No scales are on record"),
    ],
)
def test_the_title_says_the_observed_scale(make_run, record, scales, says):
    records = [record(i, s) for i, s in enumerate(scales)]
    (axes,) = plots.scales(Run.load(make_run(records=records))).axes
    assert title(axes) == says


def test_the_range_of_the_mean_holds_95_percent_of_runs():
    odds = SavingThrow("d20", 10).odds()
    chances = {s: float(p) for s, p in odds.scales.items()}
    mean, square = float(odds.mean), float(odds.mean_square)
    expected = Expected({}, mean, square, 0.3, 0.05, 0.4, 0.55)
    low, high = expected.mean_range(np.array([400]))
    values = [float(s or 0) for s in chances]
    draws = np.random.default_rng(0).choice(values, p=list(chances.values()), size=(4000, 400))
    means = draws.mean(axis=1)
    assert np.mean((means > low) & (means < high)) == pytest.approx(0.95, abs=0.012)


# The slots.


def names(axes):
    return [text.get_text() for text in axes.get_yticklabels()]


def test_a_row_for_each_slot_with_its_mean_and_its_range(make_run, rolled):
    records = rolled(60, slots=3)
    run = Run.load(make_run(records=records, steps=60, dice={"scope": "tensor"}))
    left, right, *_ = plots.slots(run).axes
    means = [np.mean([r.scale or 0 for r in records if r.slot == slot]) for slot in range(3)]
    dots = lines(right)["the whole run"]
    assert dots.get_xdata() == pytest.approx(means)
    assert list(dots.get_ydata()) == [0, 1, 2]
    (band,) = right.patches
    reach = 1.96 * math.sqrt((0.348625 - 0.3225**2) / 60)
    assert band.get_data().baseline == pytest.approx(np.full(3, 0.3225 - reach))
    assert band.get_data().values == pytest.approx(np.full(3, 0.3225 + reach))
    inside = sum(abs(mean - 0.3225) <= reach for mean in means)
    assert title(left) == f"{inside} of 3 slots lie in the range of 95 % of runs"


@given(
    steps=st.lists(st.tuples(st.integers(0, 900), st.integers(0, 2)), min_size=1, max_size=200),
    pick=st.randoms(use_true_random=False),
)
def test_the_means_over_steps_are_means_of_whole_steps(steps, pick):
    records = [
        RollRecord(s, s, 0, slot, 1, 1, Outcome.SUCCESS, pick.choice([None, -0.5, 0.25, 1]))
        for s, slot in sorted(steps)
    ]
    rolls = Rolls.of(records)
    edges, means = means_over_steps(rolls)
    assert means.shape == (len(rolls.places), len(edges) - 1)
    for row, (_, slot) in zip(means, rolls.places, strict=True):
        for (low, high), mean in zip(pairwise(edges), row, strict=True):
            here = [r.scale or 0 for r in records if r.slot == slot and low <= r.step < high]
            assert mean == pytest.approx(np.mean(here) if here else np.nan, nan_ok=True)


def test_rows_are_named_by_their_parameters(make_run, rolled):
    slots = [(0, 0, "net.block.a.weight"), (0, 1, "net.block.b.weight")]
    parts = {"records": rolled(9, slots=2), "steps": 9, "dice": {"scope": "tensor"}}
    left, *_ = plots.slots(Run.load(make_run(slots=slots, **parts))).axes
    assert names(left) == ["a.weight", "b.weight"]
    assert left.get_ylabel() == "net.block"
    left, *_ = plots.slots(Run.load(make_run("unnamed", **parts))).axes
    assert names(left) == ["slot 0", "slot 1"]


def test_rows_of_groups_say_how_many_parameters_there_are(make_run, rolled):
    slots = [(0, 0, "a.weight"), (0, 1, "a.bias"), (0, 1, "b.bias")]
    dice = {"scope": "param_group"}
    run = Run.load(make_run(records=rolled(9, slots=2), steps=9, dice=dice, slots=slots))
    left, *_ = plots.slots(run).axes
    assert names(left) == ["group 0 (1 parameter)", "group 1 (2 parameters)"]


def test_rows_of_several_optimizers_say_whose_they_are(make_run, rolled):
    run = Run.load(make_run(records=rolled(20, optimizers=2), steps=20))
    left, *_ = plots.slots(run).axes
    assert names(left) == ["optimizer 0", "optimizer 1"]
    assert title(left) == "2 of 2 optimizers lie in the range of 95 % of runs"
    parts = {"records": rolled(20, slots=2, optimizers=2), "dice": {"scope": "tensor"}}
    slots = [(o, s, f"{'gd'[o]}.{s}.weight") for o in (0, 1) for s in (0, 1)]
    left, *_ = plots.slots(Run.load(make_run("tensor", slots=slots, **parts))).axes
    assert names(left)[::3] == ["optimizer 0: g.0.weight", "optimizer 1: d.1.weight"]


def test_a_long_name_keeps_its_end_and_is_no_mathematics(make_run, rolled):
    slots = [(0, 0, "a.$x$" * 30 + ".weight"), (0, 1, "b")]
    parts = {"records": rolled(9, slots=2), "steps": 9, "dice": {"scope": "tensor"}}
    left, *_ = plots.slots(Run.load(make_run(slots=slots, **parts))).axes
    assert len(names(left)[0]) == 28
    assert names(left)[0].endswith("$.weight")


def test_very_many_slots_have_no_names(make_run, rolled):
    records = rolled(4, slots=200)
    left, *_ = plots.slots(Run.load(make_run(records=records, dice={"scope": "tensor"}))).axes
    assert left.get_ylabel() == "slots, in order"
    assert len(names(left)) < 20


def test_several_rolls_a_step_are_drawn_as_their_mean(make_run, rolled):
    records = rolled(2000, slots=2)
    (axes,) = plots.scales(Run.load(make_run(records=records, steps=2000))).axes
    (dots,) = (c for c in axes.collections if isinstance(c, PathCollection))
    assert len(dots.get_offsets()) == 1500
    step, mean = dots.get_offsets()[700]
    assert mean == pytest.approx(np.mean([r.scale or 0 for r in records if r.step == step]))
    assert "of 2000 steps drawn" in axes.texts[0].get_text()


# The accuracy.


def test_the_accuracy_is_in_percent_beside_its_baseline(make_run):
    rows = [{"step": s, "val_accuracy": 0.5 + s / 40} for s in range(10)]
    task = {"metric": "val_accuracy", "unit": "accuracy", "mode": "max"}
    parts = {"task": task, "baseline": {"name": "majority", "value": 0.1}}
    run = Run.load(make_run(steps=10, rows=rows, metrics={"val_accuracy": 0.725}, **parts))
    (axes,) = plots.accuracy(run).axes
    assert lines(axes)["validation"].get_ydata() == pytest.approx([0.5 + s / 40 for s in range(10)])
    assert list(lines(axes)["baseline: majority, 10.0\N{NO-BREAK SPACE}%"].get_ydata()) == [
        0.1,
        0.1,
    ]
    assert axes.yaxis.get_major_formatter()(0.5).replace(".0", "") == "50 %"
    assert title(axes) == (
        "Validation accuracy ended at 72.5 %, 62 percentage points above the majority baseline of "
        "10.0 %"
    )


# Everything at once: nothing that a run can hold stops a plot.


@pytest.mark.parametrize("name", plots.__all__)
@pytest.mark.parametrize(
    "parts",
    [
        {},
        {"records": [], "rows": []},
        {"records": [], "rows": [], "odds": {}, "metrics": {}, "baseline": None, "task": {}},
        {"steps": 1, "rows": [{"step": 0, "val_loss": 0.0, "val_accuracy": 0.0}]},
        {"steps": 2, "rows": [{"step": 0, "val_loss": math.nan, "val_accuracy": math.nan}]},
        {"steps": 3, "baseline": {"name": "$\\alpha$" * 40, "value": -1e30}},
        {"steps": 3, "task": {"metric": "val_loss", "unit": "$" * 99}},
        {"steps": 30, "throw": SavingThrow("d4", 4, [None] * 4)},
        {"steps": 30, "throw": SavingThrow("d2", 1, [-1e6, 1e6])},
        {"steps": 2, "rolled": {"slots": 300}},
        {"steps": 9, "rolled": {"slots": 2, "optimizers": 3}, "odds": {}},
        {"steps": 9, "rolled": {"slots": 2}, "throw": SavingThrow("d2", 1, [None, None])},
    ],
)
def test_every_plot_can_be_drawn_of_every_run(make_run, rolled, name, parts):
    parts = dict(parts)
    if "rolled" in parts:
        parts["records"] = rolled(parts["steps"], parts.get("throw"), **parts.pop("rolled"))
    run = Run.load(make_run(**parts))
    assert draw(lambda: getattr(plots, name)(run)).startswith(b"\x89PNG")
