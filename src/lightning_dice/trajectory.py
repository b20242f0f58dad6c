"""Keeps the weights along a training, from which the path that they took is drawn."""

from __future__ import annotations

import math
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn
from typing_extensions import override

from lightning_dice.places import usable
from lightning_dice.rules import SettingError
from lightning_dice.rules.checking import finite_number, whole_number
from lightning_dice.trainer_state import lightning_class
from lightning_dice.training_files import local_folder
from lightning_dice.trajectory_file import FEWEST, TrajectoryFile

_BYTES = 2
"""Of a weight in float16."""


class TrajectoryRecorder(Callback):
    """Keeps the trainable weights now and then: the first, the last, and evenly between them.

    They go to ``trajectory.npy``, a table of float16 with a point a row, and ``trajectory.json``,
    which says what each row is. Row ``t`` has the weights after ``t`` optimizer steps, so that a
    roll whose ``step`` is ``t`` led from there to ``t + 1``. Which weights are trainable is asked
    when training starts.

    float16 has 11 significant bits: a weight of 6.1e-5 to 65504 is off by its 2^-11 part at most, a
    smaller one by 3e-8 at most, and a larger one becomes infinite, so that its row is left out when
    the trajectory is read.

    Where the number of steps is known, a row is kept every so many steps that all find room.
    Otherwise it is every step at first; each time the table is full every other row is dropped, and
    twice as many steps lie between two. A training that goes on from a checkpoint drops the rows
    after it, and ends with those that it would have had. Of several processes one writes.

    Args:
        folder: Where the files go.
        most: Most rows, 3 or more.
        megabytes: Largest size of the table, in 10^6 bytes.

    Raises:
        SettingError: If a value cannot be used; when training starts, if three rows do not fit, or
            if no process has the whole model.

    Example:
        >>> from lightning.pytorch import Trainer
        >>> trainer = Trainer(callbacks=[TrajectoryRecorder("run", most=32)], accelerator="cpu",
        ...                   logger=False, enable_checkpointing=False)
    """

    def __init__(self, folder: Path | str, most: int = 64, megabytes: float = 256) -> None:
        fewest = f"expected {FEWEST} snapshots of the weights or more"
        self.most = whole_number("most", most, fewest, FEWEST)
        self.megabytes = finite_number("megabytes", megabytes, "expected a size above 0")
        if self.megabytes <= 0:
            raise SettingError("megabytes", megabytes, "expected a size above 0")
        local = local_folder(usable("folder", folder))
        if local is None:
            remedy = "expected a folder of this machine, as snapshots are added to a local file"
            raise SettingError("folder", str(folder), remedy)
        self.folder = local
        self._weights: list[nn.Parameter] = []
        self._file: TrajectoryFile | None = None
        self._next = 0

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        strategy: Any = trainer.strategy
        sharded = any(
            lightning_class(strategy, kind) for kind in ("FSDPStrategy", "ModelParallelStrategy")
        )
        if sharded or (lightning_class(strategy, "DeepSpeedStrategy") and strategy.zero_stage_3):
            name = type(strategy).__name__
            remedy = f"{name} leaves no process the whole model; give trajectory=0, or use ddp"
            raise SettingError("trajectory", self.most, remedy)

    @override
    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        named = [(name, p) for name, p in pl_module.named_parameters() if p.requires_grad]
        self._weights = [p for _, p in named]
        size = sum(p.numel() for p in self._weights)
        rows = min(self.most, int(self.megabytes * 1e6 / _BYTES / max(size, 1)))
        if rows < FEWEST:
            needed = FEWEST * size * _BYTES / 1e6
            remedy = (
                f"{FEWEST} snapshots of {size} weights take {needed:.0f}; give that, or keep none "
                "(trajectory=0)"
            )
            raise SettingError("megabytes", self.megabytes, remedy)
        if trainer.is_global_zero:
            shapes = [tuple(p.shape) for p in self._weights]
            self._file = TrajectoryFile(self.folder, rows, [name for name, _ in named], shapes)
            self._rows = rows

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # Asked on every rank, as it may load the data.
        total = trainer.estimated_stepping_batches
        if self._file is None:
            return
        step = trainer.global_step
        if step == 0 or not self._file.reopen(step):
            known = math.isfinite(total)
            self._file.create(max(1, math.ceil(total / (self._rows - 1))) if known else 1)
        self._next = self._after(self._file.steps[-1]) if self._file.steps else 0
        self._keep(step)
        self._file.write_note()

    @override
    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        self._keep(trainer.global_step)

    @override
    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn == "fit":
            self._write_note()

    @override
    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        self._write_note()  # a training that goes on from there finds its rows

    @override
    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        file = self._file
        if file is not None and file.steps and file.steps[-1] < trainer.global_step:
            if file.full:
                file.thin()
            file.add(trainer.global_step, _halves(self._weights))
        self._write_note()

    @override
    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        with suppress(SettingError):  # the error at hand matters more
            self._write_note()

    @override
    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._file, self._weights = None, []

    def _keep(self, step: int) -> None:
        file = self._file
        if file is not None and step >= self._next and file.full:
            file.thin()
            self._next = self._after(file.steps[-1])  # which may be later than this step
        if file is not None and step >= self._next:
            file.add(step, _halves(self._weights))
            self._next = self._after(step)

    def _after(self, step: int) -> int:
        """The step of the next row."""
        assert self._file is not None, "the caller has asked"
        return (step // self._file.every + 1) * self._file.every

    def _write_note(self) -> None:
        if self._file is not None and self._file.steps:
            self._file.write_note()


def _halves(weights: list[nn.Parameter]) -> Any:
    """One vector in float16, copied and rounded in one go."""
    parts: list[Tensor] = [p.detach().reshape(-1) for p in weights]
    size = sum(part.numel() for part in parts)
    vector = torch.empty(size, dtype=torch.float16, device=parts[0].device)
    torch.cat(parts, out=vector)
    return vector.cpu().numpy()
