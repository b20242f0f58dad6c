"""What is ranked: each optimizer with its clipping and settings, on one task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from lightning_dice.analysis.phrases import listed
from lightning_dice.analysis.sweep.gather import Context, Sweep
from lightning_dice.analysis.sweep.labels import cell
from lightning_dice.rules import SettingError

CLIP, LR = "trainer.gradient_clip_val", "optimizer.lr"
_TASK = ("data", "model")


class Subject(NamedTuple):
    """One context of a sweep, as an optimizer that is tested.

    Attributes:
        context: Its position in the sweep.
        optimizer: The optimizer, as it is spelled.
        clipping: Whether gradients are clipped; empty where that is the same for all.
        settings: What else tells it from the others; may be empty.
    """

    context: int
    optimizer: str
    clipping: str
    settings: str

    @property
    def line(self) -> str:
        """The name without the clipping."""
        return _name(self.optimizer, self.settings)

    @property
    def name(self) -> str:
        """The whole name."""
        return _name(self.optimizer, self.clipping, self.settings)


def subjects_of(sweep: Sweep) -> list[Subject]:
    """Every context as a subject.

    Raises:
        SettingError: If the contexts are of several tasks, which no ranking may mix.
    """
    _refuse_several_tasks(sweep)
    rows = [context.values for context in sweep.contexts]
    optimizers = [cell(row["optimizer"]) or "unnamed optimizer" for row in rows]
    clippings = _clippings(rows)
    names: list[tuple[str, ...]] = list(zip(optimizers, clippings, strict=True))
    settings: list[list[str]] = [[] for _ in rows]
    others = set(rows[0]) - {*_TASK, "optimizer", CLIP}
    # Every learning rate was tuned, so it names a subject only where nothing else does.
    for column in sorted(others, key=lambda name: (name == LR, name)):
        said = [f"{column.partition('.')[2]} {cell(row[column]) or 'not set'}" for row in rows]
        longer = [(*name, value) for name, value in zip(names, said, strict=True)]
        if len(set(longer)) > len(set(names)):
            names = longer
            settings = [[*so_far, value] for so_far, value in zip(settings, said, strict=True)]
    return [
        Subject(place, optimizer, clipping, ", ".join(more))
        for place, (optimizer, clipping, more) in enumerate(
            zip(optimizers, clippings, settings, strict=True)
        )
    ]


def _name(optimizer: str, *details: str) -> str:
    told = ", ".join(filter(None, details))
    return f"{optimizer} ({told})" if told else optimizer


def _clippings(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    if CLIP not in rows[0]:
        return [""] * len(rows)
    given = [row[CLIP] for row in rows]
    several = len({value for value in given if value is not None}) > 1
    return [
        "not clipped" if value is None else f"clipped at {cell(value)}" if several else "clipped"
        for value in given
    ]


def _refuse_several_tasks(sweep: Sweep) -> None:
    tasks: dict[tuple[Any, ...], int] = {}
    for place, context in enumerate(sweep.contexts):
        tasks.setdefault(_task(context), place)
    if len(tasks) < 2:
        return
    paths = sweep.runs.groupby("context")["path"].first()
    told = [f"{_said(key)} ({paths[place]})" for key, place in tasks.items()]
    more = [f"{len(told) - 3} more"] if len(told) > 3 else []
    raise SettingError(
        "folder",
        ", ".join(sweep.folders),
        f"holds runs of several tasks: {listed([*told[:3], *more])}; optimizers are ranked within "
        "one task, so give the folders of the runs of one",
    )


def _task(context: Context) -> tuple[Any, ...]:
    """Data and model with all of their settings, and the metric."""
    own = (item for item in context.values.items() if item[0].partition(".")[0] in _TASK)
    return (*own, context.measure)


def _said(key: tuple[Any, ...]) -> str:
    *settings, measure = key
    values = dict(settings)
    named = f"{values.pop('model') or 'a model'} on {values.pop('data') or 'data'}"
    details = [f"{column} {cell(value) or 'not set'}" for column, value in values.items()]
    return ", ".join([named, *details, measure.spoken])
