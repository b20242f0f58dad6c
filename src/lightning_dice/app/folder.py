"""What is in the output folder before a run writes there, and the checkpoint it goes on from."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from lightning.pytorch import LightningModule
from omegaconf import DictConfig

from lightning_dice.app.checkpoints import CHECKPOINTS, LAST
from lightning_dice.app.resumed import Trained, check_settings, is_over
from lightning_dice.app.summary import NAME, flat_settings, summary_of
from lightning_dice.app.whole_files import DRAFT
from lightning_dice.callback import SavingThrowCallback
from lightning_dice.records import Extent, file_of, rows_of
from lightning_dice.rules import SettingError
from lightning_dice.trajectory_file import NOTE, TABLE


class Checkpoint(NamedTuple):
    """What a run has to know of the checkpoint that it goes on from.

    Attributes:
        path: Where it is.
        step: The optimizer step that training goes on with.
        callbacks: The states of callbacks, by key.
        shapes: Of the weights, by name.
        own: Whether it is a checkpoint of the run in the output folder.
    """

    path: Path
    step: int
    callbacks: Mapping[Any, Any]
    shapes: Mapping[str, torch.Size]
    own: bool

    @property
    def trained(self) -> Mapping[str, Any] | None:
        """What ``Trained`` has left in it; ``None`` in a checkpoint of something else."""
        known = self.callbacks.get(Trained.__qualname__)
        if known is None and self.own:  # by a version that left nothing
            settings = summary_of(self.path.parents[1]).get("settings")
            known = {"settings": settings, "changes": []} if isinstance(settings, dict) else None
        return known


def ended(config: DictConfig, folder: Path) -> dict[str, Any] | None:
    """Return the summary of the run in ``folder`` if there is nothing left to train of it.

    Args:
        config: The configuration by which it is to go on.
        folder: The output folder.
    """
    recorded = summary_of(folder)
    theirs = recorded.get("settings")
    if recorded.get("status") != "finished" or not _is_own(config.ckpt_path, folder):
        return None
    if not isinstance(theirs, dict):
        return None
    mine = flat_settings(config)
    dice = [key for key in {**mine, **theirs} if key.startswith(("saving_throw.", "dice."))]
    try:
        check_settings(mine, theirs)
    except SettingError:
        return None  # said in full by what builds it
    same = all(mine.get(key) == theirs.get(key) for key in dice)
    return recorded if same and is_over(mine, theirs, int(recorded["steps"])) else None


def find_checkpoint(ckpt_path: str | None, folder: Path) -> Path | None:
    """The checkpoint that training goes on from; none where the last run ended before its first.

    Raises:
        SettingError: If there is no such file.
    """
    if ckpt_path is None:
        return None
    path = folder / CHECKPOINTS / LAST if ckpt_path == "last" else Path(ckpt_path)
    if ckpt_path == "last" and not path.exists() and (folder / NAME).is_file():
        return None  # it ended before its first one
    if not path.is_file():
        raise SettingError("ckpt_path", ckpt_path, f"there is no checkpoint at {path}")
    return path


def read_checkpoint(path: Path, folder: Path) -> Checkpoint:
    """Read a checkpoint without its weights.

    Args:
        path: Where it is.
        folder: The output folder.

    Raises:
        SettingError: If it is no checkpoint.
    """
    try:
        checkpoint = torch.load(path, map_location="meta", weights_only=True)
        return Checkpoint(
            path,
            int(checkpoint["global_step"]),
            checkpoint["callbacks"],
            {name: weight.shape for name, weight in checkpoint["state_dict"].items()},
            own=path.resolve().parent == (folder / CHECKPOINTS).resolve(),
        )
    except Exception as error:
        remedy = f"cannot be read as a checkpoint ({type(error).__name__})"
        raise SettingError("ckpt_path", str(path), remedy) from error


def check_checkpoint(
    checkpoint: Checkpoint, dice: SavingThrowCallback, model: LightningModule
) -> None:
    """Refuse a checkpoint of another saving throw or model, or whose rolls are gone.

    Raises:
        SettingError: Naming what differs.
    """
    state = dice.find_state(checkpoint.callbacks, keys={dice.state_key})
    if checkpoint.shapes != {name: weight.shape for name, weight in model.state_dict().items()}:
        remedy = "holds another model; resume with the same model settings"
        raise SettingError("ckpt_path", str(checkpoint.path), remedy)
    known = file_of(state or checkpoint.callbacks.get(dice.state_key, {}))
    if checkpoint.own and known is not None and known.rows:
        _check_rolls(checkpoint.path, known)


def _check_rolls(checkpoint: Path, known: Extent) -> None:
    """Refuse to go on where rolls from before the checkpoint are gone, or are others."""
    path = checkpoint.parents[1] / "rolls.csv"
    otherwise = f"go on in a new folder: hydra.run.dir=NEW ckpt_path={checkpoint}"
    if not path.is_file():
        remedy = f"is gone, and had {known.rows} rolls; restore the file, or {otherwise}"
        raise SettingError("rolls", str(path), remedy)
    for _ in rows_of(path, known, otherwise):
        pass  # which raises at the end if they are others


def make(folder: Path) -> None:
    """Make the output folder, or refuse one that cannot be written.

    Raises:
        SettingError: If it cannot.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingError("hydra.run.dir", str(folder), f"cannot be made ({error})") from error
    if not os.access(folder, os.W_OK):
        raise SettingError("hydra.run.dir", str(folder), "cannot be written; choose another")


def check_free(folder: Path, resumes: bool) -> None:
    """Refuse a folder that holds a run that would be lost.

    Raises:
        SettingError: If it does.
    """
    if (folder / NAME).exists() and not resumes:
        remedy = "holds a run already; choose another folder, or resume it with ckpt_path=last"
        raise SettingError("hydra.run.dir", str(folder), remedy)


def tidy(folder: Path, anew: bool) -> None:
    """Delete what a killed process left half written, and what is made again.

    Args:
        folder: The output folder, which this process holds.
        anew: Whether the run in it begins anew, as it ended before its first checkpoint.
    """
    for place in (folder, folder / CHECKPOINTS):
        for draft in place.glob(f"*{DRAFT}"):
            draft.unlink(missing_ok=True)
    if anew and summary_of(folder).get("status") != "finished":
        for name in (NOTE, TABLE, "rolls.csv", "slots.csv"):  # the note before its table
            (folder / name).unlink(missing_ok=True)


def _is_own(ckpt_path: str | None, folder: Path) -> bool:
    last = (folder / CHECKPOINTS / LAST).resolve()
    return ckpt_path == "last" or (ckpt_path is not None and Path(ckpt_path).resolve() == last)
