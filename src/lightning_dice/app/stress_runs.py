"""Measures many runs under stress, and keeps what it finds in their folders."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from lightning_dice.analysis.stress.record import NAME, Record, read_record
from lightning_dice.analysis.sweep.find import Found, LeftOut, find_runs
from lightning_dice.analysis.sweep.reading import read_run
from lightning_dice.app.commands import near
from lightning_dice.app.rebuild import Named
from lightning_dice.app.stress import Told, measure_stress, settings_of
from lightning_dice.app.trained import (
    NOBODYS,
    NotFinished,
    check_finished,
    checkpoint_of,
    load_trained,
)
from lightning_dice.pages import write_whole
from lightning_dice.rules import SettingError


class Options(NamedTuple):
    """What is measured.

    Attributes:
        examples: Most examples; ``None`` for all images, or a few hundred windows of text.
        seed: Of all noise.
        checkpoint: The checkpoint's name.
        device: Where; ``auto`` for a GPU if there is one.
        again: Whether to measure what is on record already.
    """

    examples: int | None = None
    seed: int = 0
    checkpoint: str = "last"
    device: str = "auto"
    again: bool = False


def measure_runs(
    folders: Sequence[Path | str],
    options: Options,
    console: Console | None = None,
    named: Named = NOBODYS,
) -> tuple[dict[str, Record], list[LeftOut]]:
    """Measure every run below the folders that counts, and keep a record in each one's folder.

    A run whose record has the same settings and the same checkpoint is not measured again.

    Args:
        folders: Runs, or folders below which there are some.
        options: What is measured.
        console: Where progress is shown; standard error by default.
        named: Classes of others that the runs may be of; their code is run.

    Returns:
        The records by the runs' paths, as ``find_runs`` has them, and the runs that could not be
        measured.

    Raises:
        SettingError: If ``options`` cannot be used, or there is only one run and it cannot be
            measured.
    """
    _check(options)
    found, _ = find_runs(folders)
    alone = len(found) == 1
    if found and len(waiting := unfinished(found)) == len(found) > 1:
        where = ", ".join(map(str, folders))
        raise SettingError("run", where, f"none of {len(found)} runs has finished; {waiting[0]}")
    # Of several, those that do not count are named by whoever reads the sweep.
    runs = found if alone else [one for one in found if not isinstance(read_run(one), LeftOut)]
    records: dict[str, Record] = {}
    left_out = []
    with _bar(console or Console(stderr=True)) as bar:
        task = bar.add_task("", total=None)
        for place, one in enumerate(runs):

            def told(part: str, done: int, parts: int, place: int = place) -> None:
                completed, total = place * parts + done, len(runs) * parts
                bar.update(task, description=part, completed=completed, total=total)

            try:
                records[one.path] = _record(one, options, told, named)
            except SettingError as error:
                if alone:
                    raise
                left_out.append(LeftOut(one.path, "cannot be measured", error.remedy))
    return records, left_out


def unfinished(runs: Sequence[Found]) -> list[str]:
    """Name the runs that have not finished, a line each, with the command that resumes it."""
    lines = []
    for one in runs:
        try:
            check_finished(one.folder)
        except NotFinished as error:
            lines.append(f"{near(one.folder)} {error.remedy}")
        except SettingError:
            pass  # whoever reads the sweep says what is wrong
    return lines


def _check(options: Options) -> None:
    if options.examples is not None and options.examples < 2:
        raise SettingError("examples", options.examples, "expected 2 or more")
    if not 0 <= options.seed < 2**32:
        raise SettingError("seed", options.seed, "expected a whole number from 0 to 2^32 - 1")


def _bar(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TextColumn("measures"),
        TimeRemainingColumn(),
        TextColumn("left"),
        console=console,
        expand=True,
        transient=True,
        speed_estimate_period=600,
        disable=not console.is_terminal,
    )


def _settings(checkpoint: Path, options: Options) -> dict[str, Any]:
    return settings_of(checkpoint, options.examples, options.seed)


def _record(one: Found, options: Options, told: Told, named: Named) -> Record:
    path = checkpoint_of(one.folder, options.checkpoint)
    record = None if options.again else read_record(one.folder)
    if record is None or not path.is_file() or record.settings != _settings(path, options):
        trained = load_trained(one.folder, options.checkpoint, options.device, named)
        measured = measure_stress(trained, examples=options.examples, seed=options.seed, told=told)
        try:
            text = json.dumps(measured, indent=1, allow_nan=False) + "\n"
            write_whole(one.folder / NAME, text.encode())
        except OSError as error:
            remedy = f"{NAME} cannot be written there ({error.strerror or error})"
            raise SettingError("run", str(one.folder), remedy) from error
        record = read_record(one.folder)
        assert record is not None
    return record
