"""The page, its pictures and its tables: whole, by themselves, and of the same numbers."""

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from lightning_dice.analysis.landscape import Landscape
from lightning_dice.analysis.landscape.page import pictures_of, write_landscape
from lightning_dice.analysis.landscape.tables import path_table
from lightning_dice.analysis.landscape.turning import hover, paths_surface, slice_surfaces
from lightning_dice.analysis.phrases import MINUS
from lightning_dice.analysis.style import LOOKS, draw
from lightning_dice.rules import SettingError

from .conftest import RECORDS

ALL = ["paths", "interpolation", "slice-2d", "slice-1d"]


@pytest.fixture
def page(landscape, tmp_path):
    return write_landscape(landscape, tmp_path / "out")


def test_everything_is_written(landscape, page):
    folder = page.parent
    assert {path.name for path in folder.glob("*.png")} == {f"{name}.png" for name in ALL}
    text = page.read_text(encoding="utf-8")
    assert "One plane holds" in text
    assert "arXiv 2302.07011" in text
    for name in ALL:
        assert text.count(f'id="{name}"') == 1
    table = pd.read_csv(folder / "tables/slices.csv")
    ours = table[table["run"] == "plain"].pivot(index="second", columns="first", values="loss")
    np.testing.assert_allclose(ours, landscape.slices[0].losses)
    lines = pd.read_csv(folder / "tables/lines.csv")
    np.testing.assert_allclose(lines["height"], lines["at"] ** 2 - lines["at"])


def test_the_page_needs_nothing_but_itself(page):
    text = page.read_text(encoding="utf-8")
    assert text.count("plotly.js v") == 1
    ours = re.sub(r"<script>.*?</script>", "", text, flags=re.DOTALL)
    assert not re.findall(r"""(?:src|href)=["'](?!data:)""", ours)
    assert "default-src 'none'" in text


def test_a_path_says_what_was_rolled(landscape):
    path = landscape.plane.paths[1]
    for i, step in enumerate(path.steps[1:], start=1):
        last = RECORDS[step - 1]
        said = hover(path, i).replace(MINUS, "-")
        assert f"step {step}<br>" in said
        assert f"rolled {last.natural}: {last.outcome.replace('_', ' ')}" in said
        assert ("discard" if last.scale is None else f"scale {last.scale:.2f}") in said
        assert "2 rolls since the point before" in said
    assert "rolled" not in hover(path, 0)
    assert "rolled" not in hover(landscape.plane.paths[0], 2)
    trace = next(t for t in paths_surface(landscape.plane).data if t.name == path.label)
    assert list(trace.text) == [hover(path, i) for i in range(len(path.steps))]
    assert list(trace.marker.color)[1:] == [
        LOOKS[RECORDS[step - 1].outcome].colour for step in path.steps[1:]
    ]


def test_the_table_of_a_path_is_that_of_the_rolls(landscape):
    table = path_table(landscape.plane.paths[1])
    last = [RECORDS[step - 1] for step in table["step"][1:]]
    assert table["natural"][1:].tolist() == [roll.natural for roll in last]
    assert table["outcome"][1:].tolist() == [str(roll.outcome) for roll in last]
    scales = [np.nan if roll.scale is None else roll.scale for roll in last]
    np.testing.assert_allclose(table["scale"][1:].astype(float), scales)
    assert path_table(landscape.plane.paths[0])["rolls"].tolist() == [0] * 5


def test_a_run_alone_has_slices(parts):
    parts.members, parts.slices = parts.members[:1], parts.slices[:1]
    parts.plane, parts.lines = None, ()
    landscape = Landscape(**vars(parts))
    assert [picture.name for picture in pictures_of(landscape)] == ["slice-2d", "slice-1d"]
    assert len(slice_surfaces(landscape).data) == 1


def test_losses_that_are_not_finite_are_left_out_of_every_picture(parts):
    for surface in (*parts.slices, parts.plane, *parts.lines):
        surface.losses[0] = np.inf
        surface.losses[-1] = np.nan
    parts.slices[1].losses[:] = np.nan
    landscape = Landscape(**vars(parts))
    for picture in pictures_of(landscape):
        assert draw(picture.figure).startswith(b"\x89PNG")
        for trace in picture.turned().data:
            heights = trace.z if trace.type == "surface" else trace.y
            if trace.type != "scatter3d":
                assert not np.isinf(np.asarray(heights, dtype=float)).any()


def test_six_runs_are_told_apart(parts):
    labels = [f"run {i}" for i in range(6)]
    parts.slices = tuple(replace(parts.slices[0], label=label) for label in labels)
    parts.plane, parts.lines = None, ()
    landscape = Landscape(**vars(parts))
    figure = next(p for p in pictures_of(landscape) if p.name == "slice-1d").turned()
    assert len({(trace.line.color, trace.line.dash) for trace in figure.data}) == 6
    for picture in pictures_of(landscape):
        assert draw(picture.figure).startswith(b"\x89PNG")


def test_a_folder_that_cannot_be_written_is_named(parts, tmp_path):
    (tmp_path / "file").touch()
    parts.plane, parts.lines = None, ()  # which take a while to draw
    with pytest.raises(SettingError, match=r"out=.*cannot be written"):
        write_landscape(Landscape(**vars(parts)), tmp_path / "file")
