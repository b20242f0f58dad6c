"""The matrix: every way of rolling, crossed with every way of training."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch.optim import Optimizer

Groups = list[dict[str, Any]]


class Cell(NamedTuple):
    """One combination; each field is a key of the axis of its name."""

    target: str
    scope: str
    optimizer: str
    precision: str
    clip: str
    accumulate: int
    mode: str


def _make(name: str, **settings: Any) -> Callable[[Groups], Optimizer]:
    return lambda groups: getattr(torch.optim, name)(groups, **settings)


OPTIMIZERS: dict[str, Callable[[Groups], Optimizer]] = {
    "SGD": _make("SGD", lr=0.05),
    "SGD momentum": _make("SGD", lr=0.05, momentum=0.9, dampening=0.1, weight_decay=0.02),
    "SGD nesterov": _make("SGD", lr=0.05, momentum=0.9, nesterov=True),
    "SGD foreach": _make("SGD", lr=0.05, momentum=0.9, foreach=True),
    "SGD fused": _make("SGD", lr=0.05, momentum=0.9, fused=True),
    "Adam": _make("Adam", lr=0.03, weight_decay=0.02),
    "Adam amsgrad": _make("Adam", lr=0.03, amsgrad=True),
    "Adam fused": _make("Adam", lr=0.03, fused=True),
    "AdamW": _make("AdamW", lr=0.03, weight_decay=0.1),
    "AdamW foreach": _make("AdamW", lr=0.03, weight_decay=0.1, foreach=True),
    "AdamW fused": _make("AdamW", lr=0.03, weight_decay=0.1, fused=True),
    "AdamW tensor lr": lambda groups: torch.optim.AdamW(groups, lr=torch.tensor(0.03)),
    "NAdam": _make("NAdam", lr=0.03, weight_decay=0.05, decoupled_weight_decay=True),
    "RAdam": _make("RAdam", lr=0.03, weight_decay=0.05),
    "Adamax": _make("Adamax", lr=0.03, weight_decay=0.05),
    "Adagrad": _make("Adagrad", lr=0.05, lr_decay=0.1),
    "Adadelta": _make("Adadelta", lr=0.5),
    "RMSprop": _make("RMSprop", lr=0.02, momentum=0.5, centered=True),
    "ASGD": _make("ASGD", lr=0.05, t0=2),
    "Rprop": _make("Rprop", lr=0.02),
    "Adafactor": _make("Adafactor", lr=0.03, weight_decay=0.05),
    "Muon": _make("Muon", lr=0.02),
    "LBFGS": _make("LBFGS", lr=0.1, max_iter=3, history_size=4),
    "SparseAdam": _make("SparseAdam", lr=0.03),
}
"""Names to factories; a name without a variant is torch's own default for the device."""

GPU_OPTIMIZERS: dict[str, Callable[[Groups], Optimizer]] = {
    **{name: OPTIMIZERS[name] for name in ("SGD momentum", "SGD fused", "AdamW", "AdamW foreach")},
    "AdamW fused": OPTIMIZERS["AdamW fused"],
    "Adam fused": OPTIMIZERS["Adam fused"],
    "AdamW capturable": _make("AdamW", lr=0.03, weight_decay=0.1, capturable=True),
    "AdamW capturable tensor lr": lambda groups: torch.optim.AdamW(
        groups, lr=torch.tensor(0.03, device="cuda"), capturable=True
    ),
    "AdamW fused tensor lr": lambda groups: torch.optim.AdamW(
        groups, lr=torch.tensor(0.03, device="cuda"), fused=True
    ),
    "NAdam capturable": _make("NAdam", lr=0.03, capturable=True),
    "Adamax capturable": _make("Adamax", lr=0.03, capturable=True),
    "RMSprop capturable": _make("RMSprop", lr=0.02, momentum=0.5, capturable=True),
    **{name: OPTIMIZERS[name] for name in ("Adafactor", "Muon", "LBFGS", "SparseAdam")},
}

TARGETS = ("gradient", "update")
SCOPES = ("model", "param_group", "tensor", "filtered")  # filtered: model, one tensor left out
PRECISIONS = ("32-true", "64-true", "bf16-mixed", "16-mixed")
CLIPS = ("none", "norm", "value", "own")
ACCUMULATE = (1, 3)
MODES = ("automatic", "manual")

Axes = tuple[tuple[Any, ...], ...]


def axes(device: str) -> Axes:
    """The values of each field of a cell on ``device``; automatic training may be compiled."""
    gpu = device == "cuda"
    names = tuple(GPU_OPTIMIZERS if gpu else OPTIMIZERS)
    modes = (*MODES, "compiled") if gpu else MODES
    return TARGETS, SCOPES, names, PRECISIONS, CLIPS, ACCUMULATE, modes


def every_cell(device: str = "cpu") -> Iterator[Cell]:
    """The whole product."""
    return itertools.starmap(Cell, itertools.product(*axes(device)))


def some_cells(device: str = "cpu", together: int = 3) -> list[Cell]:
    """A part of the product in which any values of any ``together`` axes meet.

    Compiling takes a while: of what is compiled any two meet.
    """
    cells = list(every_cell(device))
    random.Random(0).shuffle(cells)
    chosen: list[Cell] = []
    met: set[Any] = set()
    for wanted in (30, 20, 10, 5, 1):  # what brings most first
        for cell in cells:
            axes_that_meet = 2 if cell.mode == "compiled" else together
            new = set(itertools.combinations(enumerate(cell), axes_that_meet)) - met
            if len(new) >= wanted:
                chosen.append(cell)
                met |= new
    return sorted(chosen, key=cells.index)
