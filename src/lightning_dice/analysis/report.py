"""The report of one run: a single page that needs nothing but itself."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from matplotlib.figure import Figure

from lightning_dice import __version__
from lightning_dice.analysis import facts, plots
from lightning_dice.analysis.messages import (
    accuracy_message,
    loss_message,
    loss_reading,
    outcomes_message,
    outcomes_reading,
    scales_message,
    scales_reading,
    slots_message,
    slots_reading,
)
from lightning_dice.analysis.pages import fill
from lightning_dice.analysis.run import Run
from lightning_dice.analysis.style import draw
from lightning_dice.analysis.words import paragraph
from lightning_dice.foreign import make_inside
from lightning_dice.pages import data_uri, write_whole
from lightning_dice.rules import SettingError

REPORT = "report.html"
_ADDRESS = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]+):/(/localhost(?=/)|/)?(?P<path>.*)", re.DOTALL)
_LOGGER = "give the Trainer logger=CSVLogger('.'), train again and report on trainer.log_dir"


class Plot(NamedTuple):
    """One plot of the report.

    Attributes:
        name: The file's name without its suffix.
        heading: Of its section.
        figure: Draws it.
        message: What it says, for its title and for readers who cannot see it.
        reading: How to read it; may be empty.
    """

    name: str
    heading: str
    figure: Callable[[Run], Figure]
    message: Callable[[Run], str]
    reading: Callable[[Run], str]


PLOTS = (
    Plot(
        "loss",
        "What was learnt",
        plots.loss,
        loss_message,
        loss_reading,
    ),
    Plot("accuracy", "How often it was right", plots.accuracy, accuracy_message, lambda _: ""),
    Plot(
        "outcomes",
        "What was rolled",
        plots.outcomes,
        outcomes_message,
        outcomes_reading,
    ),
    Plot(
        "scales",
        "The scale of each roll",
        plots.scales,
        scales_message,
        scales_reading,
    ),
    Plot(
        "slots",
        "Slot by slot",
        plots.slots,
        slots_message,
        slots_reading,
    ),
)
"""The report's plots in order; some are left out where a run has nothing for them."""


def write_report(folder: Path | str | None) -> Path:
    """Write ``report.html`` and its plots into a run's folder.

    Args:
        folder: The run's folder, such as ``trainer.log_dir``; what it lacks is named in the report.

    Returns:
        The page. It holds its plots; ``plots/*.png`` are for use elsewhere.

    Raises:
        SettingError: If the folder is not a run's or cannot be written to.
    """
    folder = _local(folder)
    run = Run.load(folder)
    images = {plot.name: draw(partial(plot.figure, run)) for plot in plots_of(run)}
    page = render(run, images)
    try:
        make_inside(folder, "plots")
        for name, image in images.items():
            write_whole(folder / "plots" / f"{name}.png", image)
        # Last, so that a page never stands beside plots that are older than itself.
        write_whole(folder / REPORT, page.encode())
    except OSError as error:
        raise SettingError(
            "folder", str(folder), f"{REPORT} cannot be written there ({error.strerror or error})"
        ) from error
    return folder / REPORT


def _local(folder: object) -> Path:
    """The folder as a path, if it names one on this machine."""
    if folder is None:
        raise SettingError("folder", None, f"without a folder a logger has no files; {_LOGGER}")
    if not isinstance(folder, str | Path):
        raise SettingError("folder", folder, "expected the path of a run's folder, as text or Path")
    address = _ADDRESS.match(str(folder))
    if address is None or Path(folder).is_dir():
        return Path(folder)
    if address["scheme"] == "file":
        remedy = f"this is an address; expected its path, '/{address['path'].lstrip('/')}'"
    else:
        remedy = f"dice leave files only in folders of this machine; {_LOGGER}"
    raise SettingError("folder", str(folder), remedy)


def plots_of(run: Run) -> list[Plot]:
    """The plots that this run has something for."""
    missing = set()
    if not {"train_accuracy", "val_accuracy"} & set(run.metrics):
        missing.add("accuracy")
    if len(run.rolls.places) < 2:
        missing.add("slots")
    return [plot for plot in PLOTS if plot.name not in missing]


def render(run: Run, images: dict[str, bytes]) -> str:
    """The page as text.

    Args:
        run: What it is about.
        images: The PNG of each plot, by its name.
    """
    shown = [
        (plot.heading, plot.message(run), plot.reading(run), data_uri(images[plot.name]))
        for plot in plots_of(run)
    ]
    return fill(
        f"{REPORT}.j2",
        run=run,
        title=facts.title(run),
        subtitle=facts.subtitle(run),
        headlines=facts.headlines(run),
        paragraph=paragraph(run),
        error=str(run.summary.get("error") or ""),
        plots=shown,
        odds=facts.odds_rows(run),
        scales=facts.scale_rows(run),
        settings=facts.settings(run),
        metrics=facts.other_metrics(run),
        versions=facts.versions(run),
        version=__version__,
    )
