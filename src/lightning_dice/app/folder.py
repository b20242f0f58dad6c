"""What is in the output folder before a run writes there, and the checkpoint it goes on from."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from lightning.pytorch import LightningModule

from lightning_dice.app.checkpoints import CHECKPOINTS, LAST
from lightning_dice.app.summary import NAME
from lightning_dice.callback import SavingThrowCallback
from lightning_dice.rules import SettingError


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


def check_checkpoint(path: Path, dice: SavingThrowCallback, model: LightningModule) -> int:
    """The step that training goes on with, if it may go on from that checkpoint."""
    try:
        checkpoint = torch.load(path, map_location="meta", weights_only=True)
        step, states = int(checkpoint["global_step"]), checkpoint["callbacks"]
        theirs = {name: weight.shape for name, weight in checkpoint["state_dict"].items()}
    except Exception as error:
        remedy = f"cannot be read as a checkpoint ({type(error).__name__})"
        raise SettingError("ckpt_path", str(path), remedy) from error
    dice.find_state(states, keys={dice.state_key})
    if theirs != {name: weight.shape for name, weight in model.state_dict().items()}:
        remedy = "holds another model; resume with the same model settings"
        raise SettingError("ckpt_path", str(path), remedy)
    return step


def claim(folder: Path, resumes: bool) -> None:
    """Refuse a folder that cannot be written, or that holds a run that would be lost."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingError("hydra.run.dir", str(folder), f"cannot be made ({error})") from error
    if not os.access(folder, os.W_OK):
        raise SettingError("hydra.run.dir", str(folder), "cannot be written; choose another")
    if (folder / NAME).exists() and not resumes:
        remedy = "holds a run already; choose another folder, or resume it with ckpt_path=last"
        raise SettingError("hydra.run.dir", str(folder), remedy)
