"""Barriers, distances, scales, and the sentences that are made of them."""

from dataclasses import replace

import numpy as np
import pytest

from lightning_dice.analysis.landscape import Landscape, Line, words
from lightning_dice.analysis.landscape.labels import labels
from lightning_dice.analysis.landscape.scale import Scale, off_chart
from lightning_dice.analysis.phrases import NBSP, counted

AT = np.linspace(0, 1, 101)


def well(lean):
    """A double well, tilted: (1 - (2t - 1)^2)^2 is 1 in the middle and 0 at its ends."""
    return Line("a", "b", AT, (1 - (2 * AT - 1) ** 2) ** 2 + 3 + lean * AT)


@pytest.mark.parametrize("lean", [0, 2, -5])
def test_the_barrier_of_a_double_well_is_its_height(lean):
    assert well(lean).barrier == pytest.approx(1)
    assert AT[well(lean).heights.argmax()] == 0.5


def test_a_bowl_has_no_barrier():
    assert Line("a", "b", AT, (AT - 0.3) ** 2).barrier == 0


def test_a_barrier_without_a_height_is_said_to_have_none(parts):
    losses = AT.copy()
    losses[50] = np.nan
    parts.lines = (Line("a", "b", AT, losses), well(0))
    landscape = Landscape(**vars(parts))
    assert "not finite" in words.lines_message(landscape)
    assert "A barrier of 1.00 lies between a and b, 0.50 of the way" in words.lead(landscape)


def test_the_lead_says_what_is_seen(landscape):
    said = words.lead(landscape).replace(NBSP, " ")
    assert "from 0.100 to 2.10 around plain and from 5.00 to 105 around dice" in said
    assert "No barrier lies between plain and dice at 10." in said
    assert "One plane holds 95.0 % of the paths' squared distances from the end of plain." in said


def test_the_farthest_point_is_a_share_of_the_longest_way(landscape):
    assert landscape.plane.farthest == pytest.approx(0.5 / np.hypot(2, 0.5))
    assert "24.3" in words.plane_reading(landscape)


def test_a_slice_s_line_is_its_middle_row(landscape):
    first = landscape.slices[0]
    np.testing.assert_allclose(first.line, 0.1 + 2 * first.axis**2)
    assert first.centre == pytest.approx(0.1)


def test_what_is_not_finite_is_counted(parts):
    lost = {words.slices_reading: 2, words.plane_reading: 3, words.lines_reading: 1}
    for reading in lost:
        assert "not finite" not in reading(Landscape(**vars(parts)))
    parts.slices[0].losses[0, :2] = np.inf
    parts.plane = replace(parts.plane, losses=np.full((5, 5), 1.0))
    parts.plane.losses[0, :3] = np.nan
    parts.lines[0].losses[2] = np.nan
    for reading, count in lost.items():
        said = reading(Landscape(**vars(parts)))
        assert f"Left out: {counted(count, 'point')} whose loss is not finite." in said
    assert off_chart(np.array([1, np.nan, np.inf, -np.inf])) == 3


@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        ([1, 2], (1, 2, False)),
        ([0.1, 10], (0.1, 10, True)),
        ([0, 100], (0, 100, False)),
        ([np.nan, np.inf], (0, 1, False)),
        ([2, np.inf], (2, 2, False)),
    ],
)
def test_a_scale_is_logarithmic_where_losses_span_decades(losses, expected):
    scale = Scale.of(np.array(losses, dtype=float))
    assert scale == expected
    levels = scale.levels()
    assert (np.diff(levels) > 0).all()
    assert levels[0] == scale.low
    steps = np.diff(np.log(levels) if scale.log else levels)
    np.testing.assert_allclose(steps, steps[0])


def summary(control, **more):
    dice = {"die": "d20", "threshold": 10, "scaling": "margin", "target": "gradient"}
    return {"control": {"name": control, "of": dice}, "dice": dice, "seed": 0, **more}


def aimed(target):
    whole = summary("none")
    return {**whole, "dice": {**whole["dice"], "target": target}}


@pytest.mark.parametrize(
    ("summaries", "expected"),
    [
        ([summary("plain"), summary("none")], ["plain", "dice at 10"]),
        (
            [summary("none"), summary("none", seed=1)],
            [f"dice at 10, seed {s}" for s in "01"],
        ),
        (
            [summary("plain"), aimed("gradient"), aimed("update")],
            ["plain", "dice at 10 on gradient", "dice at 10 on update"],
        ),
        ([summary("plain"), summary("plain")], ["plain, x", "plain, y"]),
        ([{"seed": 0}, summary("deck")], ["run", "deck"]),
    ],
)
def test_labels_are_what_tells_runs_apart(summaries, expected):
    assert labels(summaries, ["x", "y", "z"][: len(summaries)]) == expected
