"""A run that has ended, with its model and its data again: what is measured after training."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from lightning.pytorch import LightningDataModule, LightningModule
from torch import Tensor

from lightning_dice.analysis.run import read_summary, section
from lightning_dice.app.checkpoint_file import read_weights
from lightning_dice.app.checkpoints import CHECKPOINTS
from lightning_dice.app.rebuild import Named, read_config, rebuild
from lightning_dice.app.recorded import how_to_resume
from lightning_dice.foreign import Unreadable, shown
from lightning_dice.rules import SettingError

Batch = tuple[Tensor, Tensor]
NOBODYS = Named()
"""No class but those of this package."""
MOST_NAMED = 20
"""Most checkpoints that an error names."""


class NotFinished(SettingError):  # noqa: N818 - says what is the matter with a run
    """A run that is still to be resumed; the remedy holds the command."""


class Trained(NamedTuple):
    """A finished run.

    Attributes:
        folder: Where it is.
        summary: Its ``summary.json``.
        config: Its resolved configuration.
        model: With the checkpoint's weights, on ``device``, for evaluation.
        data: Set up.
        checkpoint: The file that the weights are from.
        device: Where the model is.
        notes: What there is to know before its numbers are read.
    """

    folder: Path
    summary: Mapping[str, Any]
    config: Mapping[str, Any]
    model: LightningModule
    data: LightningDataModule
    checkpoint: Path
    device: torch.device
    notes: tuple[str, ...]


def load_trained(
    folder: Path | str, checkpoint: str = "last", device: str = "auto", named: Named = NOBODYS
) -> Trained:
    """Load what a run of ``lightning-dice-train`` has left. Nothing named in its folder is run.

    Args:
        folder: The run's folder.
        checkpoint: ``last``, ``best``, or the name of another file in its folder of checkpoints.
        device: ``auto`` for a GPU if there is one, else a device as torch names it.
        named: Classes of others that the run may be of; their code is run.

    Raises:
        SettingError: If the run has not finished, keeps no checkpoint, or cannot be rebuilt here.
    """
    folder = Path(folder)
    summary = check_finished(folder)
    config = read_config(folder)
    where = choose_device(device)
    path = checkpoint_of(folder, checkpoint)
    weights = _weights(folder, path, config)
    try:
        model, data = rebuild(folder, config, named, partial(_check_match, folder, path, weights))
    except SettingError as error:
        if error.setting in ("run", "model-class", "data-class"):
            raise
        remedy = f"cannot be rebuilt here ({error})"
        raise SettingError("run", str(folder), remedy) from error
    _check_finite(folder, path, weights)
    model.load_state_dict(weights)
    return Trained(
        folder,
        summary,
        config,
        model.to(where).eval(),
        data,
        path,
        where,
        tuple(_notes(config, where)),
    )


def choose_device(device: str) -> torch.device:
    """A device that is there.

    Raises:
        SettingError: If it is not.

    Example:
        >>> choose_device("cpu")
        device(type='cpu')
    """
    try:
        chosen = torch.device(_any() if device == "auto" else device)
        torch.empty(0, device=chosen)
    except (
        RuntimeError,
        AssertionError,
        ValueError,
    ) as error:  # torch asserts that it was built for it
        remedy = "is not there; expected auto, cpu, or a GPU of this machine, such as cuda:0"
        raise SettingError("device", device, remedy) from error
    return chosen


def validation_batches(trained: Trained, most: int | None = None) -> list[Batch]:
    """The run's own validation data on its device, the first ``most`` examples of it.

    Raises:
        SettingError: If its data are not one loader of pairs, of inputs and labels.
    """
    loader = trained.data.val_dataloader()
    batches: list[Batch] = []
    left = most
    for batch in loader:
        pair = isinstance(batch, list | tuple) and len(batch) == 2
        if not pair or not all(isinstance(part, Tensor) for part in batch):
            kind = type(trained.data).__name__
            remedy = "expected one validation loader whose batches are pairs of inputs and labels"
            raise SettingError("data", kind, remedy)
        inputs, labels = (part[:left].to(trained.device) for part in batch)
        batches.append((inputs, labels))
        if left is not None:
            left -= len(labels)
            if left <= 0:
                break
    return batches


def _any() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def check_finished(folder: Path) -> dict[str, Any]:
    """Return the summary of a run that has finished.

    Raises:
        NotFinished: If it has not.
        SettingError: If there is no such run.
    """
    if not folder.is_dir():
        raise SettingError("run", str(folder), "there is no such folder")
    summary, missing = read_summary(folder)
    if not summary:
        raise SettingError("run", str(folder), f"is no run that can be read: {missing[0]}")
    status = summary.get("status")
    if status != "finished":
        how = how_to_resume(folder)
        remedy = f"has not finished (status {status})"
        raise NotFinished("run", str(folder), f"{remedy}; {how}" if how else remedy)
    return summary


def checkpoint_of(folder: Path, checkpoint: str) -> Path:
    """Return the file of a checkpoint, which lies in the run's folder of checkpoints.

    Raises:
        SettingError: If the name is a path.
    """
    name = f"{checkpoint.removesuffix('.ckpt')}.ckpt"
    if Path(name).name != name or "\\" in name or "\0" in name:
        remedy = "expected the name of a file in the run's folder of checkpoints, such as last"
        raise SettingError("checkpoint", checkpoint, remedy)
    return folder / CHECKPOINTS / name


def _weights(folder: Path, path: Path, config: Mapping[str, Any]) -> dict[str, Tensor]:
    try:
        return read_weights(path, folder)
    except FileNotFoundError:
        kept = sorted(shown(file.stem) for file in path.parent.glob("*.ckpt"))[:MOST_NAMED]
        why = "was trained with checkpoints=false" if config.get("checkpoints") is False else None
        found = f"has {', '.join(kept)}" if kept else why or "keeps no checkpoint"
        remedy = f"{found}; train with checkpoints=true to measure what it has learned"
        remedy = remedy if not kept else f"no {path.name}: {found}"
        raise SettingError("run", str(folder), remedy) from None
    except Unreadable as error:
        raise SettingError("run", str(folder), f"{path.name} {error}") from error


def _check_finite(folder: Path, path: Path, weights: Mapping[str, Tensor]) -> None:
    bad = [name for name, weight in weights.items() if not weight.isfinite().all()]
    if bad:
        remedy = f"diverged: {len(bad)} of {len(weights)} tensors in {path.name} are not finite"
        raise SettingError("run", str(folder), f"{remedy}, among them {bad[0]}")


def _check_match(
    folder: Path, path: Path, weights: Mapping[str, Tensor], model: LightningModule
) -> None:
    mine = {name: tuple(weight.shape) for name, weight in model.state_dict().items()}
    theirs = {name: tuple(weight.shape) for name, weight in weights.items()}
    if mine != theirs:
        name = next(name for name in {**theirs, **mine} if mine.get(name) != theirs.get(name))
        remedy = (
            f"{path.name} holds another model than its config.yaml describes: {name} is "
            f"{theirs.get(name, 'not in it')}, and {mine.get(name, 'not in the model')} here"
        )
        raise SettingError("run", str(folder), remedy)
    if not callable(getattr(model, "predict", None)):
        remedy = "has no method predict(batch) that returns logits (N, C) and labels (N,)"
        raise SettingError("model", type(model).__name__, remedy)


def _notes(config: Mapping[str, Any], device: torch.device) -> list[str]:
    if (
        str(section(config, "trainer").get("accelerator")) in ("gpu", "cuda")
        and device.type == "cpu"
    ):
        return ["It was trained on a GPU and is measured on the CPU."]
    return []
