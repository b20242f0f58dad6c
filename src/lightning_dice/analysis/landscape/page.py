"""Writes a landscape: one page that needs nothing but itself, pictures for print, and tables."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib.figure import Figure
from plotly.offline import get_plotlyjs  # type: ignore[import-untyped]

from lightning_dice import __version__
from lightning_dice.analysis.landscape import plots, turning, words
from lightning_dice.analysis.landscape.data import Landscape
from lightning_dice.analysis.landscape.tables import tables
from lightning_dice.analysis.pages import fill
from lightning_dice.analysis.phrases import counted, listed
from lightning_dice.analysis.style import draw
from lightning_dice.analysis.sweep.tables import as_csv
from lightning_dice.foreign import make_inside
from lightning_dice.pages import data_uri, write_whole
from lightning_dice.rules import SettingError

PAGE = "landscape.html"


class Picture(NamedTuple):
    """One picture: on the page it can be turned, and beside it there is one for print.

    Attributes:
        name: The file's name without its suffix.
        heading: Of its section.
        message: What it shows.
        reading: How to read it.
        figure: Draws it for print.
        turned: Draws it for the page.
    """

    name: str
    heading: str
    message: str
    reading: str
    figure: Callable[[], Figure]
    turned: Callable[[], Any]


def write_landscape(landscape: Landscape, folder: Path) -> Path:
    """Write ``landscape.html``, its pictures and its tables.

    Args:
        landscape: What is drawn.
        folder: Where; made if it is not there.

    Returns:
        The page.

    Raises:
        SettingError: If the folder cannot be written to.
    """
    pictures = pictures_of(landscape)
    images = {picture.name: draw(picture.figure) for picture in pictures}
    page = render(landscape, pictures, images)
    try:
        make_inside(folder, "tables")
        for name, image in images.items():
            write_whole(folder / f"{name}.png", image)
        for name, table in tables(landscape).items():
            write_whole(folder / "tables" / f"{name}.csv", as_csv(table))
        write_whole(folder / PAGE, page.encode())
    except OSError as error:
        remedy = f"{PAGE} cannot be written there ({error.strerror or error})"
        raise SettingError("out", str(folder), remedy) from error
    return folder / PAGE


def pictures_of(landscape: Landscape) -> list[Picture]:
    """The pictures that there is something for, the most telling one first."""
    found = []
    if landscape.plane is not None:
        message = words.plane_message(landscape.plane)
        found.append(
            Picture(
                "paths",
                "The way that was taken",
                message,
                words.plane_reading(landscape),
                partial(plots.paths, landscape.plane, message),
                partial(turning.paths_surface, landscape.plane),
            )
        )
    if landscape.lines:
        message = words.lines_message(landscape)
        found.append(
            Picture(
                "interpolation",
                "From one run to another",
                message,
                words.lines_reading(landscape),
                partial(plots.lines, landscape.lines, message),
                partial(turning.between_lines, landscape),
            )
        )
    message, reading = words.maps_message(landscape), words.slices_reading(landscape)
    maps = Picture(
        "slice-2d",
        "Around the last weights",
        message,
        reading,
        partial(plots.slice_maps, landscape, message),
        partial(turning.slice_surfaces, landscape),
    )
    message = words.slice_message(landscape)
    line = Picture(
        "slice-1d",
        "Along the first of these directions",
        message,
        "A cut through the surface above, along its first direction.",
        partial(plots.slice_lines, landscape, message),
        partial(turning.slice_lines, landscape),
    )
    return [*found, maps, line]


def render(landscape: Landscape, pictures: list[Picture], images: dict[str, bytes]) -> str:
    """The page as text.

    Args:
        landscape: What it is about.
        pictures: What it shows.
        images: The PNG of each picture, by its name, for who reads without scripts.
    """
    shown = [
        (picture, data_uri(images[picture.name]), _division(picture.turned(), picture.name))
        for picture in pictures
    ]
    return fill(
        "landscape/page.html.j2",
        title=listed([member.label for member in landscape.members]),
        landscape=landscape,
        examples=counted(landscape.examples, "validation example"),
        lead=words.lead(landscape),
        remarks=[*landscape.omissions, *landscape.notes],
        pictures=shown,
        limits=words.LIMITS,
        settings=[(name, value) for name, value in landscape.settings.items() if value is not None],
        script=get_plotlyjs(),
        version=__version__,
    )


def _division(figure: Any, name: str) -> str:
    division: str = figure.to_html(
        full_html=False,
        include_plotlyjs=False,
        div_id=name,
        config={"displaylogo": False, "responsive": True},
    )
    return division
