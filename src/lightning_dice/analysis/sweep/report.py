"""The report of a sweep: one page that needs nothing but itself, and its tables and plots."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning_dice import __version__
from lightning_dice.analysis.pages import fill
from lightning_dice.analysis.phrases import counted, listed
from lightning_dice.analysis.report import REPORT
from lightning_dice.analysis.style import draw
from lightning_dice.analysis.sweep import plots
from lightning_dice.analysis.sweep.files import write_files
from lightning_dice.analysis.sweep.gather import Sweep
from lightning_dice.analysis.sweep.headline import headline, numbers, title
from lightning_dice.analysis.sweep.layout import (
    arms_table,
    comparisons_table,
    left_out_table,
    versions_table,
)
from lightning_dice.analysis.sweep.method import method
from lightning_dice.analysis.sweep.plots import Drawing
from lightning_dice.analysis.sweep.results import Results
from lightning_dice.analysis.sweep.tables import tables
from lightning_dice.analysis.sweep.verdict import verdicts
from lightning_dice.pages import data_uri

_STEMS = ("thresholds", "learning", "threshold-by-die", "arms")


def write_sweep_report(
    folders: Path | str | Sequence[Path | str], out: Path | str | None = None
) -> Path:
    """Write the report of all runs below a folder or several.

    Args:
        folders: Where the runs are, however deep.
        out: Where ``report.html``, ``tables/`` and ``plots/`` go; the folder itself if there is
            but one, else ``report``.

    Returns:
        The page. It holds its plots; the files beside it are for use elsewhere.

    Raises:
        SettingError: If there is no run that counts, or ``out`` cannot be written to.
    """
    return write_results(Results.of(Sweep.load(folders)), out)


def write_results(results: Results, out: Path | str | None = None) -> Path:
    """Write the report of what was computed: see ``write_sweep_report``."""
    folders = results.sweep.folders
    folder = Path(out) if out is not None else Path(folders[0] if len(folders) == 1 else "report")
    drawings = drawings_of(results)
    images = {drawing.name: draw(drawing.figure) for drawing in drawings}
    return write_files(folder, render(results, drawings, images), tables(results), images, _STEMS)


def drawings_of(results: Results) -> list[Drawing]:
    """The plots that have something to show."""
    kinds = (plots.thresholds, plots.learning, plots.heat, plots.dots)
    return [drawing for kind in kinds for drawing in kind(results)]


def render(results: Results, drawings: Sequence[Drawing], images: Mapping[str, bytes]) -> str:
    """The page as text.

    Args:
        results: What it is about.
        drawings: Its plots.
        images: The PNG of each plot, by its name.
    """
    sections: list[dict[str, Any]] = []
    for drawing in drawings:
        if drawing.heading:
            sections.append({"heading": drawing.heading, "figures": []})
        shown = drawing.message, drawing.reading, data_uri(images[drawing.name])
        sections[-1]["figures"].append(shown)
    return fill(
        f"sweep/{REPORT}.j2",
        title=title(results),
        numbers=numbers(results),
        headline=headline(results),
        notes=notes(results),
        verdicts=verdicts(results),
        plots=sections,
        arms=arms_table(results),
        comparisons=comparisons_table(results),
        left_out=left_out_table(results.sweep.left_out),
        method=method(results),
        versions=versions_table(results),
        folders=[Path(folder).resolve().name for folder in results.sweep.folders],
        version=__version__,
    )


def notes(results: Results) -> list[str]:
    """What changes how everything else is to be read."""
    told = []
    diverged = int(results.arms["diverged"].sum())
    if diverged:
        arms = int((results.arms["diverged"] > 0).sum())
        told.append(
            f"{counted(diverged, 'run')} of {counted(arms, 'arm')} diverged and ended without a "
            "value. Means leave them out, which flatters those arms."
        )
    mixed = [name for name, found in results.sweep.versions.items() if len(found) > 1]
    if mixed:
        told.append(f"The runs were made with several versions of {listed(mixed)}.")
    if results.sweep.left_out:
        told.append(left_out_line(results.sweep))
    return told


def left_out_line(sweep: Sweep) -> str:
    """What was left out, in one line.

    Args:
        sweep: What was read.
    """
    if not sweep.left_out:
        return "Nothing was left out."
    kinds = Counter(one.reason for one in sweep.left_out).most_common()
    return f"Left out: {'; '.join(f'{count} ({reason})' for reason, count in kinds)}."
