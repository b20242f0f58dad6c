"""Computes the landscape of trained runs: slices, the plane of their paths, lines between them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from torch import Tensor

from lightning_dice.analysis import landscape as drawn
from lightning_dice.analysis.landscape.moves import Move, read_moves
from lightning_dice.analysis.readers import Floats
from lightning_dice.analysis.run import section
from lightning_dice.app.members import Chosen, Members, choose_members
from lightning_dice.app.rebuild import Named
from lightning_dice.app.trained import (
    NOBODYS,
    Batch,
    Trained,
    choose_device,
    validation_batches,
)
from lightning_dice.app.values import KeptValues
from lightning_dice.probes import Objective
from lightning_dice.probes.directions import random_direction
from lightning_dice.probes.planes import principal_plane
from lightning_dice.probes.surface import Points, losses_at
from lightning_dice.rules import SettingError

VALUES = "values"
WINDOWS = 64
"""Most windows of text, unless asked otherwise; of images, all are taken."""
LARGEST = 401
"""Points along either side of a surface, at most."""
_MARGIN = 0.15
"""Of the paths' extent that is drawn around them."""


class Options(NamedTuple):
    """What is drawn.

    Attributes:
        grid: Points along either side of a surface: odd, so that the centre is one.
        span: How far slices reach, in lengths of the weights.
        examples: Most examples; ``None`` for all images, or ``WINDOWS`` of text.
        seed: Of the random directions.
        checkpoint: The checkpoint's name.
        device: Where; ``auto`` for a GPU if there is one.
    """

    grid: int = 51
    span: float = 1.0
    examples: int | None = None
    seed: int = 0
    checkpoint: str = "last"
    device: str = "auto"


def compute_landscape(
    folders: Sequence[Path | str],
    options: Options,
    out: Path,
    console: Console | None = None,
    named: Named = NOBODYS,
) -> drawn.Landscape:
    """Everything that a landscape shows of the runs in or below the folders.

    Losses are kept in ``out/values`` as they come; the same ones are not computed again.

    Args:
        folders: Runs, or folders below which there are some.
        options: What is drawn.
        out: The output folder.
        console: Where progress is shown; standard error by default.
        named: Classes of others that the runs may be of; their code is run.

    Raises:
        SettingError: If ``options`` cannot be used, or a run cannot.
    """
    _check(options)
    members = choose_members(folders, options.checkpoint, options.device, named)
    batches = _batches(members.first, options.examples)
    points = options.grid**2 * (len(members.runs) + 1) + options.grid * (len(members.runs) - 1)
    with _bar(console or Console(stderr=True)) as bar:
        task = bar.add_task("", total=points)

        def told(count: int) -> None:
            bar.advance(task, count)

        computing = _Computing(members, batches, options, out / VALUES, told)
        try:
            slices = [computing.slice(i) for i in range(len(members.runs))]
            plane = computing.plane()
            lines = [computing.line(i) for i in range(1, len(members.runs))]
        except OSError as error:
            remedy = f"{VALUES} cannot be written there ({error.strerror or error})"
            raise SettingError("out", str(out), remedy) from error
    return drawn.Landscape(
        members=tuple(run.member for run in members.runs),
        examples=sum(len(inputs) for inputs, _ in batches),
        slices=tuple(slices),
        plane=plane,
        lines=tuple(lines),
        omissions=tuple(members.omissions),
        notes=tuple(members.notes),
        settings=options._asdict(),
    )


class _Computing:
    def __init__(
        self,
        members: Members,
        batches: Sequence[Batch],
        options: Options,
        folder: Path,
        told: Callable[[int], None],
    ) -> None:
        self._members, self._runs, self._options = members, members.runs, options
        self._objective = Objective(members.first.model, batches)
        self._kept = KeptValues(folder, self._objective, batches, told)
        self._scored = section(members.first.summary, "task").get("metric") == "val_accuracy"

    def slice(self, index: int) -> drawn.Slice:
        run, options = self._runs[index], self._options
        generator = torch.Generator().manual_seed(options.seed)
        directions = torch.stack(
            [random_direction(self._objective.layout, run.weights, generator) for _ in range(2)]
        )
        axis = torch.linspace(-options.span, options.span, options.grid, dtype=torch.float64)
        # The first direction is the faster one: a row of the surface is a line along it.
        points = Points.on_grid(run.weights, directions.flip(0), axis, axis)
        losses = self._kept.losses(f"slice-{index + 1}", points)
        return drawn.Slice(run.member.label, axis.numpy(), _square(losses, axis))

    def plane(self) -> drawn.Plane | None:
        first = self._runs[0]
        drawable = [run for run in self._runs if self._is_drawn(run)]
        rows = [
            torch.from_numpy(run.trajectory.table[row])
            for run in drawable
            if run.trajectory is not None
            for row in run.trajectory.rows
        ]
        if not rows:
            return None
        centre = first.weights.cpu()
        try:
            plane = principal_plane(rows, centre)
        except ArithmeticError as error:
            self._members.omissions.append(f"The plane of the paths: {error}.")
            return None
        device = first.weights.device
        axes = [_axis(plane.at[:, i], self._options.grid) for i in (0, 1)]
        directions = plane.directions.to(device)
        points = Points.on_grid(first.weights, directions.flip(0), axes[1], axes[0])
        losses = self._kept.losses("plane", points)
        own = losses_at(self._objective, rows)
        below = losses_at(
            self._objective, [first.weights + at.to(first.weights) @ directions for at in plane.at]
        )
        paths, start = [], 0
        for run in drawable:
            assert run.trajectory is not None, "only those are drawable"
            part = slice(start, start + len(run.trajectory))
            start = part.stop
            paths.append(
                drawn.Path(
                    label=run.member.label,
                    steps=np.array(run.trajectory.steps),
                    at=plane.at[part].numpy(),
                    losses=own[part].double().numpy(),
                    on_plane=below[part].double().numpy(),
                    distance=plane.distance[part].numpy(),
                    moves=self._moves(run),
                )
            )
        return drawn.Plane(
            label=first.member.label,
            first=axes[0].numpy(),
            second=axes[1].numpy(),
            losses=_square(losses, axes[1]),
            explained=(float(plane.explained[0]), float(plane.explained[1])),
            paths=tuple(paths),
        )

    def line(self, index: int) -> drawn.Line:
        start, end = self._runs[0], self._runs[index]
        at = torch.linspace(0, 1, self._options.grid, dtype=torch.float64)
        points = Points.on_grid(start.weights, (end.weights - start.weights)[None], at)
        losses = self._kept.losses(f"line-1-{index + 1}", points)
        accuracy = None
        if self._scored:
            each = [self._accuracy(points.between(i, i + 1)[0]) for i in range(len(at))]
            accuracy = np.array(each)
        return drawn.Line(start.member.label, end.member.label, at.numpy(), losses, accuracy)

    def _is_drawn(self, run: Chosen) -> bool:
        if run.trajectory is not None and run.seed != self._runs[0].seed:
            self._members.omissions.append(
                f"The path of {run.member.label}: its seed is another than that of "
                f"{self._runs[0].member.label}, so that it begins elsewhere."
            )
        return run.trajectory is not None and run.seed == self._runs[0].seed

    def _moves(self, run: Chosen) -> tuple[Move, ...]:
        if not run.dice or run.trajectory is None:
            return ()
        moves, missing = read_moves(run.folder / "rolls.csv", run.trajectory.steps)
        if missing:
            self._members.omissions.append(f"The rolls of {run.member.label}: {missing}.")
        return moves

    def _accuracy(self, weights: Tensor) -> float:
        logits, labels = self._objective.predictions(weights)
        return float((logits.argmax(dim=1) == labels).double().mean())


def _check(options: Options) -> None:
    if not 3 <= options.grid <= LARGEST or options.grid % 2 == 0:
        remedy = f"expected an odd number from 3 to {LARGEST}: its square is computed"
        raise SettingError("grid", options.grid, remedy)
    if not 0 < options.span < math.inf:
        raise SettingError("span", options.span, "expected a length above 0")
    if options.examples is not None and options.examples < 1:
        raise SettingError("examples", options.examples, "expected 1 or more")
    if not 0 <= options.seed < 2**32:
        raise SettingError("seed", options.seed, "expected a whole number from 0 to 2^32 - 1")
    choose_device(options.device)


def _batches(trained: Trained, examples: int | None) -> list[Batch]:
    first = validation_batches(trained, 1)
    text = bool(first) and not first[0][0].is_floating_point()
    batches = validation_batches(trained, WINDOWS if text and examples is None else examples)
    if not batches:
        raise SettingError("data", type(trained.data).__name__, "holds nothing to validate on")
    return batches


def _axis(at: Tensor, grid: int) -> Tensor:
    """Coordinates from below the lowest to above the highest, the centre's included."""
    low, high = min(float(at.min()), 0.0), max(float(at.max()), 0.0)
    margin = _MARGIN * (high - low)
    return torch.linspace(low - margin, high + margin, grid, dtype=torch.float64)


def _square(losses: Floats, rows: Tensor) -> Floats:
    return losses.reshape(len(rows), -1)


def _bar(console: Console) -> Progress:
    return Progress(
        TextColumn("losses"),
        BarColumn(bar_width=None),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        TextColumn("left"),
        console=console,
        expand=True,
        transient=True,
        speed_estimate_period=60,
        disable=not console.is_terminal,
    )
