import io
import threading

import matplotlib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.colors import to_rgb
from PIL import Image

from lightning_dice.analysis.style import (
    DPI,
    LOOKS,
    POINTS,
    WIDTH,
    blank,
    draw,
    entitle,
    house_style,
    running_mean,
    say,
    thin,
)
from lightning_dice.rules import Outcome


def luminance(colour):
    channels = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
    return float(np.dot(channels, (0.2126, 0.7152, 0.0722)))


def test_each_outcome_has_its_own_colour_marker_and_hatch():
    assert set(LOOKS) == set(Outcome)
    for column in zip(*LOOKS.values(), strict=True):
        assert len(set(column)) == len(Outcome)


def test_hatches_tell_outcomes_apart_where_grey_does_not():
    looks = list(LOOKS.values())
    for i, one in enumerate(looks):
        for other in looks[i + 1 :]:
            grey = abs(luminance(one.colour) - luminance(other.colour))
            assert grey > 0.15 or one.hatch != other.hatch
    # What follows on what in a stack is told apart by grey as well as by hatch, or by hatch alone
    # where the greys are close: never by neither.
    assert len({look.hatch for look in looks}) == len(looks)


def picture(png):
    return Image.open(io.BytesIO(png))


def test_a_drawing_has_the_common_size_and_a_white_ground():
    png = draw(lambda: blank(2.0)[0])
    image = picture(png)
    assert image.size == (round(WIDTH * DPI), 2 * DPI)
    assert image.convert("RGB").getpixel((0, 0)) == (255, 255, 255)


def test_the_style_leaves_no_trace():
    before = dict(matplotlib.rcParams)
    with house_style():
        assert matplotlib.rcParams["font.size"] == 10
        assert not matplotlib.rcParams["axes.spines.top"]
    assert dict(matplotlib.rcParams) == before


def test_the_style_leaves_no_trace_after_an_error():
    def fail():
        raise RuntimeError("boom")

    before = dict(matplotlib.rcParams)
    with pytest.raises(RuntimeError, match="boom"):
        draw(fail)
    assert dict(matplotlib.rcParams) == before


def test_a_users_own_style_changes_nothing():
    def plot():
        figure, axes = blank(2)
        axes.plot([1, 2])
        return figure

    plain = draw(plot)
    with matplotlib.rc_context({"lines.linewidth": 9, "axes.facecolor": "black", "font.size": 30}):
        assert draw(plot) == plain


def test_threads_draw_what_one_thread_draws():
    def plot():
        figure, axes = blank(2)
        axes.plot([1, 2], label="x")
        axes.legend()
        return figure

    before, alone, drawn = dict(matplotlib.rcParams), draw(plot), []
    threads = [threading.Thread(target=lambda: drawn.append(draw(plot))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert drawn == [alone] * 4
    assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize("title", ["cost $x$ of $\\frac{$", "\u65e5\u672c\u8a9e", "a" * 200, ""])
def test_names_of_users_are_drawn_as_they_are(title):
    def plot():
        figure, axes = blank(2)
        entitle(axes, title)
        shown = axes.get_title(loc="left")
        assert shown == title or (len(title) > 150 and shown.endswith("\N{HORIZONTAL ELLIPSIS}"))
        return figure

    assert picture(draw(plot)).format == "PNG"


def test_long_titles_stay_inside_the_figure():
    with house_style():
        figure, axes = blank(2)
        entitle(axes, "Woman Moment Memory " * 8)
        figure.draw_without_rendering()
        box = axes._left_title.get_window_extent()
        assert box.x1 <= figure.bbox.x1
        assert box.y1 <= figure.bbox.y1


def test_empty_axes_say_why():
    _figure, axes = blank(2)
    say(axes, "nothing here")
    assert [text.get_text() for text in axes.texts] == ["nothing here"]
    assert axes.get_yticks().size == 0


@given(length=st.integers(1, 10**6), most=st.integers(2, 5000))
def test_thinning_keeps_the_ends_and_the_order(length, most):
    kept = thin(length, most)
    assert kept[0] == 0
    assert kept[-1] == length - 1
    assert len(kept) == min(length, most)
    assert (np.diff(kept) > 0).all()


def test_thinning_keeps_all_of_what_is_few():
    assert thin(POINTS).tolist() == list(range(POINTS))
    assert thin(0).tolist() == []


@given(values=st.lists(st.floats(-10, 10), min_size=1, max_size=50))
def test_the_running_mean_is_the_mean_so_far(values):
    means = running_mean(np.array(values))
    assert means == pytest.approx([np.mean(values[: i + 1]) for i in range(len(values))], abs=1e-9)
