"""The report on tolerance: one page that needs nothing but itself, and its tables and plots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from lightning_dice import __version__
from lightning_dice.analysis.pages import fill
from lightning_dice.analysis.report import REPORT
from lightning_dice.analysis.style import draw
from lightning_dice.analysis.sweep.files import write_files
from lightning_dice.analysis.sweep.gather import Sweep
from lightning_dice.analysis.sweep.layout import left_out_table
from lightning_dice.analysis.sweep.plots import Drawing
from lightning_dice.analysis.tolerance import plots
from lightning_dice.analysis.tolerance.layout import (
    breakdown_table,
    families_table,
    pairs_table,
    ranking_table,
)
from lightning_dice.analysis.tolerance.method import method
from lightning_dice.analysis.tolerance.study import Tolerance
from lightning_dice.analysis.tolerance.tables import tables
from lightning_dice.analysis.tolerance.within import WITHIN
from lightning_dice.analysis.tolerance.wording import lead, notes, numbers, title
from lightning_dice.pages import data_uri
from lightning_dice.places import output_in

FOLDER = "tolerance"
_STEMS = ("breakdown", "curves", "step")


def write_tolerance_report(
    folders: Path | str | Sequence[Path | str],
    out: Path | str | None = None,
    within: str = WITHIN,
) -> Path:
    """Write how much imperfect optimization each optimizer of a sweep withstands.

    Args:
        folders: Where the runs are, however deep; of one task.
        out: Where ``report.html``, ``tables/`` and ``plots/`` go; ``tolerance`` in the folder if
            there is but one, else ``tolerance`` here.
        within: How much worse than plain of the same seed a run may end to have survived: a share
            of what plain reaches (``"5%"``), or a number in the metric's unit (``"0.02"``).

    Returns:
        The page. It holds its plots; the files beside it are for use elsewhere.

    Raises:
        SettingError: If there is nothing to test, ``within`` cannot be read, the runs are of
            several tasks, or ``out`` cannot be written to.
    """
    return write_study(Tolerance.of(Sweep.load(folders), within), out)


def write_study(study: Tolerance, out: Path | str | None = None) -> Path:
    """Write the report of what was computed: see ``write_tolerance_report``."""
    folders = study.sweep.folders
    home = Path(folders[0]) if len(folders) == 1 else Path()
    folder = output_in(home, FOLDER) if out is None else Path(out)
    drawings = drawings_of(study)
    images = {drawing.name: draw(drawing.figure) for drawing in drawings}
    return write_files(folder, render(study, drawings, images), tables(study), images, _STEMS)


def drawings_of(study: Tolerance) -> list[Drawing]:
    """The plots that have something to show."""
    kinds = (plots.breakdown, plots.curves, plots.step)
    return [drawing for kind in kinds for drawing in kind(study)]


def render(study: Tolerance, drawings: Sequence[Drawing], images: Mapping[str, bytes]) -> str:
    """The page as text.

    Args:
        study: What it is about.
        drawings: Its plots.
        images: The PNG of each plot, by its name.
    """
    shown = [
        (drawing.heading, drawing.message, drawing.reading, data_uri(images[drawing.name]))
        for drawing in drawings
    ]
    return fill(
        f"tolerance/{REPORT}.j2",
        title=title(study),
        numbers=numbers(study),
        lead=lead(study),
        notes=notes(study),
        ranking=ranking_table(study),
        breakdown=breakdown_table(study),
        margin=study.within.spoken(study.measure),
        plots=shown,
        families=families_table(study),
        pairs=pairs_table(study),
        left_out=left_out_table(study.sweep.left_out),
        method=method(study),
        versions=[(name, ", ".join(found)) for name, found in study.sweep.versions.items()],
        folders=[Path(folder).resolve().name for folder in study.sweep.folders],
        version=__version__,
    )
