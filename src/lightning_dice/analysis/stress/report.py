"""The page of runs under stress, with its tables and plots as files beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning_dice import __version__
from lightning_dice.analysis.pages import fill
from lightning_dice.analysis.report import REPORT
from lightning_dice.analysis.stress import plots
from lightning_dice.analysis.stress.gather import Stress
from lightning_dice.analysis.stress.method import method
from lightning_dice.analysis.stress.tables import (
    comparisons_table,
    others_table,
    tables,
    tested_table,
)
from lightning_dice.analysis.stress.wording import lead, notes, numbers, said, title
from lightning_dice.analysis.style import draw
from lightning_dice.analysis.sweep.files import write_files
from lightning_dice.analysis.sweep.layout import left_out_table
from lightning_dice.analysis.sweep.plots import Drawing
from lightning_dice.analysis.sweep.report import left_out_line
from lightning_dice.pages import data_uri
from lightning_dice.places import output_in

_STEMS = ("strength", "worst-case", "differences", "values", "label-noise", "learning-rates")


def write_stress(stress: Stress, out: Path | str | None = None) -> Path:
    """Write the page.

    Args:
        stress: What it is about.
        out: Where ``report.html``, ``tables/`` and ``plots/`` go; ``stress`` in the folder itself
            if there is but one, else ``./stress``.

    Returns:
        The page. It holds its plots; the files beside it are for use elsewhere.

    Raises:
        SettingError: If ``out`` cannot be written to.
    """
    folders = stress.sweep.folders
    beside = Path(folders[0]) if len(folders) == 1 else Path()
    folder = Path(out) if out is not None else output_in(beside, "stress")
    drawings = drawings_of(stress)
    images = {drawing.name: draw(drawing.figure) for drawing in drawings}
    return write_files(folder, render(stress, drawings, images), tables(stress), images, _STEMS)


def drawings_of(stress: Stress) -> list[Drawing]:
    """The plots that have something to show."""
    kinds = (
        plots.differences,
        plots.strength,
        plots.worst_case,
        plots.label_noise,
        plots.learning_rates,
    )
    return [drawing for kind in kinds for drawing in kind(stress)]


def render(stress: Stress, drawings: Sequence[Drawing], images: Mapping[str, bytes]) -> str:
    """The page as text.

    Args:
        stress: What it is about.
        drawings: Its plots.
        images: The PNG of each plot, by its name.
    """
    sections: list[dict[str, Any]] = []
    for drawing in drawings:
        if drawing.heading:
            sections.append({"heading": drawing.heading, "figures": []})
        shown = drawing.message, drawing.reading, data_uri(images[drawing.name])
        sections[-1]["figures"].append(shown)
    left_out = stress.sweep.left_out
    return fill(
        f"stress/{REPORT}.j2",
        title=title(stress),
        numbers=numbers(stress),
        lead=lead(stress),
        notes=[*notes(stress), *([left_out_line(stress.sweep)] if left_out else [])],
        plots=sections,
        said=said(stress),
        tested=tested_table(stress),
        others=others_table(stress),
        comparisons=comparisons_table(stress),
        left_out=left_out_table(left_out),
        method=method(stress),
        folders=[Path(folder).resolve().name for folder in stress.sweep.folders],
        version=__version__,
    )
