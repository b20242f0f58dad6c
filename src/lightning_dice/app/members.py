"""Which runs a landscape is drawn of: those with weights that lie in one space."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from lightning_dice.analysis.landscape import Member
from lightning_dice.analysis.landscape.labels import labels
from lightning_dice.analysis.run import section
from lightning_dice.analysis.sweep.find import SUMMARY, Found, find_runs
from lightning_dice.app.rebuild import Named
from lightning_dice.app.trained import NotFinished, Trained, load_trained
from lightning_dice.probes import Layout
from lightning_dice.probes.weights import flat_weights
from lightning_dice.rules import SettingError
from lightning_dice.rules.controls import WITHOUT_DICE
from lightning_dice.trajectory_file import FEWEST, Trajectory

MOST = 6
"""Most runs on one picture."""


class Chosen(NamedTuple):
    """A run that is drawn.

    Attributes:
        member: Its name.
        folder: Where it is.
        weights: Of its checkpoint, shape ``(N,)``.
        seed: Its seed.
        dice: Whether it rolled any.
        trajectory: The weights along the way, if they were kept.
    """

    member: Member
    folder: Path
    weights: Tensor
    seed: object
    dice: bool
    trajectory: Trajectory | None


class Members(NamedTuple):
    """The runs of a landscape.

    Attributes:
        first: The one whose model and data the loss is computed with.
        runs: All of them, the first one first.
        omissions: Which could not be used, or not wholly, and why, a sentence each.
        notes: What there is to know of those that are, a sentence each.
    """

    first: Trained
    runs: list[Chosen]
    omissions: list[str]
    notes: list[str]


def choose_members(
    folders: Sequence[Path | str], checkpoint: str, device: str, named: Named
) -> Members:
    """Load the runs in or below the folders, up to ``MOST``.

    Args:
        folders: Runs, or folders below which there are some.
        checkpoint: As for ``load_trained``.
        device: As for ``load_trained``.
        named: As for ``load_trained``.

    Raises:
        SettingError: If a folder that is named is no run that can be used, or there is none below.
            Of several, those that have not finished are omitted.
    """
    found, asked, omissions = _find(folders)
    loaded: list[tuple[Found, Trained, Tensor]] = []
    for one in found:
        if len(loaded) == MOST:
            omissions.append(f"{one.path}: {MOST} runs are drawn at most.")
            continue
        try:
            trained = load_trained(one.folder, checkpoint, device, named)
            if loaded:
                _check_match(loaded[0][1], trained)
        except NotFinished as error:
            if {one.folder} == asked:
                raise
            omissions.append(f"{one.path}: {error.remedy}")  # a command, which ends without a stop
            continue
        except SettingError as error:
            if one.folder in asked:
                raise
            omissions.append(f"{one.path}: {error.remedy}.")
            continue
        loaded.append((one, trained, flat_weights(trained.model)))
    if not loaded:
        remedy = f"no run below can be drawn; {omissions[0]}" if omissions else "holds no run"
        raise SettingError("run", ", ".join(map(str, folders)), remedy)
    first = loaded[0][1]
    called = labels([one.summary for one, _, _ in loaded], [one.path for one, _, _ in loaded])
    notes = list(dict.fromkeys(note for _, trained, _ in loaded for note in trained.notes))
    runs = []
    for label, (one, trained, weights) in zip(called, loaded, strict=True):
        try:
            trajectory = _trajectory(one.folder, first)
        except SettingError as error:
            trajectory = None
            omissions.append(f"{label}: {error.remedy}.")
        if trajectory is not None and trajectory.left_out:
            steps = ", ".join(map(str, trajectory.left_out))
            omissions.append(
                f"The path of {label} lacks step {steps}: float16 does not hold its weights."
            )
        if _data(trained) != _data(first):
            notes.append(f"{label} was trained on other data than {called[0]}, whose is used.")
        rolls = section(one.summary, "control").get("name") not in WITHOUT_DICE
        member = Member(label, one.path)
        runs.append(Chosen(member, one.folder, weights, one.summary.get("seed"), rolls, trajectory))
    return Members(first, runs, omissions, notes)


def _find(folders: Sequence[Path | str]) -> tuple[list[Found], set[Path], list[str]]:
    """The runs in the order of the folders, and those that were named themselves."""
    found, left_out = find_runs(folders)
    roots = [Path(folder).resolve() for folder in folders]
    asked = {root for root in roots if (root / SUMMARY).is_file()}

    def place(one: Found) -> int:
        return next(i for i, root in enumerate(roots) if one.folder.is_relative_to(root))

    ordered = sorted(found, key=place)
    if len(ordered) == 1 and ordered[0].path == os.curdir:
        ordered = [ordered[0]._replace(path=roots[0].name)]
    return ordered, asked, [f"{one.path}: {one.reason}." for one in left_out if one.is_run]


def _check_match(first: Trained, other: Trained) -> None:
    folder = str(other.folder)
    if Layout.of(first.model) != Layout.of(other.model):
        raise SettingError("run", folder, f"has weights of other shapes than {first.folder}")
    if not _same_buffers(first.model, other.model):
        remedy = f"has other buffers, such as running means, than {first.folder}"
        raise SettingError("run", folder, f"{remedy}; draw it by itself")


def _same_buffers(one: nn.Module, other: nn.Module) -> bool:
    ours, theirs = dict(one.named_buffers()), dict(other.named_buffers())
    return ours.keys() == theirs.keys() and all(torch.equal(ours[k], theirs[k]) for k in ours)


def _data(trained: Trained) -> object:
    given = trained.config["data"]
    return {key: value for key, value in given.items() if key not in ("batch_size", "label_noise")}


def _trajectory(folder: Path, first: Trained) -> Trajectory:
    trajectory = Trajectory.read(folder)
    layout = Layout.of(first.model)
    if (trajectory.names, trajectory.shapes) != (layout.names, layout.shapes):
        raise SettingError("trajectory", str(folder), "its trajectory is of other weights")
    if len(trajectory) < FEWEST:
        remedy = f"its trajectory has {len(trajectory)} points that can be read"
        raise SettingError("trajectory", str(folder), f"{remedy}, and {FEWEST} make a path")
    return trajectory
