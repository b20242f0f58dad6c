"""Checkpoints that a run can be killed at any moment of, and goes on from as if it had not been."""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor
from typing_extensions import override

from lightning_dice.app.whole_files import WholeFiles
from lightning_dice.ranks import gather

CHECKPOINTS = "checkpoints"
LAST = "last.ckpt"


class RandomState(Callback):
    """Keeps the global random state of every rank, so that dropout goes on where it was.

    On another number of processes, ranks that were not there begin with the seed's state.
    """

    def __init__(self) -> None:
        self._states: list[Mapping[str, Any]] = []
        self._trainer: Trainer | None = None

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._trainer = trainer

    @override
    def state_dict(self) -> dict[str, Any]:
        mine = _random_state()
        return {
            "ranks": [mine] if self._trainer is None else gather(mine, self._trainer.world_size)
        }

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._states = state_dict["ranks"]

    @override
    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        # Not sooner: whatever is set up for training may draw from it.
        if trainer.global_rank < len(self._states):
            _set_random_state(self._states[trainer.global_rank])
        self._states = []


class WholeWindows(ModelCheckpoint):
    """Saves after validations; where one falls into a window of mini-batches, at the window's end.

    A checkpoint has no room for the gradients that such a window has gathered, so that what goes
    on from it would make a smaller step. Nor is one made when Lightning ends an epoch: what goes on
    from there takes the data of the epoch after the next.

    Args:
        folder: Where checkpoints are.
        name: What this one is called, without its suffix.
        monitor: The metric that it is the best of, or ``None`` for the newest.
        mode: Whether the best is the ``"min"`` or the ``"max"``.
    """

    def __init__(
        self, folder: Path, name: str, monitor: str | None = None, mode: str = "min"
    ) -> None:
        super().__init__(
            folder,
            name,
            monitor,
            mode=mode,
            save_on_train_epoch_end=False,
            enable_version_counter=False,
        )
        self._waits = False

    @override
    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._waits = _gathers(trainer)
        if not self._waits:
            with _files(trainer).held():
                super().on_validation_end(trainer, pl_module)

    @override
    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        if self._waits and not _validates(trainer):
            self.on_validation_end(trainer, pl_module)

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        if self.dirpath == state_dict.get("dirpath"):
            self.current_score = state_dict["current_score"]  # which Lightning forgets


class LastCheckpoint(WholeWindows):
    """Saves ``last.ckpt`` after every validation, and where training ends.

    After every epoch if there is nothing to validate on.

    Lightning's ``save_last`` saves only where a better checkpoint was saved. At the end this saves
    while training is still on: what Lightning saves after ``fit`` counts a batch too many when it
    goes on.

    A checkpoint is in its place from the next mini-batch on, or from the end of training: by then
    all other files have what came before it.

    Args:
        folder: Where checkpoints are.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, Path(LAST).stem)
        self._trainer: Trainer | None = None
        self._stepped: int | None = None

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        super().setup(trainer, pl_module, stage)
        self._trainer = trainer

    @override
    def state_dict(self) -> dict[str, Any]:
        assert self._trainer is not None, "setup comes first"
        # A checkpoint is made where a step is completed, which Lightning counts a little later.
        stepped = self._trainer.fit_loop.epoch_loop._batches_that_stepped + 1
        return {**super().state_dict(), "stepped": stepped}

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        self._stepped = state_dict.get("stepped")

    @override
    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        _files(trainer).publish()
        epochs = trainer.fit_loop.epoch_progress
        if epochs.total.ready == epochs.total.completed:
            # Lightning forgets to begin an epoch where it goes on from the last batch of another,
            # and would be an epoch behind when it goes on once more.
            epochs.increment_ready()
            epochs.increment_started()
        if self._stepped is not None:
            # Lightning finds this out from where validations fall, which may have changed.
            trainer.fit_loop.epoch_loop._batches_that_stepped = self._stepped
            self._stepped = None

    @override
    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        if not _validates(trainer):
            over = trainer.fit_loop.epoch_loop._num_ready_batches_reached()
            self._waits |= ends(trainer) or (over and not trainer.enable_validation)
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)

    @override
    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_train_end(trainer, pl_module)
        _files(trainer).publish()

    @override
    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        super().on_exception(trainer, pl_module, exception)
        _files(trainer).discard()


def ends(trainer: Trainer) -> bool:
    """Return whether this mini-batch is the last one."""
    loop = trainer.fit_loop
    over, most = loop.epoch_loop._num_ready_batches_reached(), loop.max_epochs
    last_epoch = (
        over and most is not None and 0 <= most <= loop.epoch_progress.current.completed + 1
    )
    steps_made = 0 <= trainer.max_steps <= trainer.global_step
    return trainer.should_stop or steps_made or last_epoch


def _validates(trainer: Trainer) -> bool:
    """Whether a validation follows this mini-batch."""
    loop = trainer.fit_loop
    return loop._data_fetcher is None or loop.epoch_loop._should_check_val_fx(loop._data_fetcher)


def _files(trainer: Trainer) -> WholeFiles:
    files = trainer.strategy.checkpoint_io
    assert isinstance(files, WholeFiles), "build_trainer gives it to the Trainer"
    return files


def _gathers(trainer: Trainer) -> bool:
    """Whether training stands within a window of mini-batches."""
    return trainer.fit_loop.epoch_loop._should_accumulate()


def _random_state() -> dict[str, Any]:
    """As plain values and tensors, which load without trusting the file."""
    name, keys, *others = np.random.get_state()
    version, numbers, gauss = random.getstate()
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state() if torch.cuda.is_available() else None,
        "numpy": [name, torch.from_numpy(np.asarray(keys).astype(np.int64)), *others],
        "python": [version, list(numbers), gauss],
    }


def _set_random_state(state: Mapping[str, Any]) -> None:
    torch.set_rng_state(state["torch"].cpu())
    cuda: Tensor | None = state["cuda"]
    if cuda is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(cuda.cpu())
    name, keys, *others = state["numpy"]
    np.random.set_state((name, keys.cpu().numpy().astype(np.uint32), *others))
    version, numbers, gauss = state["python"]
    random.setstate((version, tuple(numbers), gauss))
