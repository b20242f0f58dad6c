"""One GPU for each of the jobs that run at the same time on a machine."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from getpass import getuser
from pathlib import Path

import torch
from filelock import FileLock, Timeout
from omegaconf import DictConfig


@contextmanager
def one_gpu(config: DictConfig, job: int) -> Iterator[None]:
    """Train on a GPU that no other job has, where the Trainer is for one and there are several.

    The first free one is held until the job's end, by a lock that ends with the process. Where none
    is free, as there are more jobs than GPUs, jobs take turns to share.

    Args:
        config: The job's configuration; its ``trainer.devices`` is set.
        job: The job's number.
    """
    gpus = torch.cuda.device_count()
    wanted = config.trainer.accelerator in ("gpu", "cuda", "auto")
    if gpus < 2 or not wanted or str(config.trainer.devices) not in ("1", "auto"):
        yield
        return
    for gpu in range(gpus):
        with suppress(Timeout), FileLock(_lock(gpu), timeout=0):
            config.trainer.devices = [gpu]
            yield
            return
    config.trainer.devices = [job % gpus]
    yield


def _lock(gpu: int) -> Path:
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    name = visible[gpu] if gpu < len(visible) and visible[gpu] else str(gpu)
    return Path(tempfile.gettempdir(), f"lightning-dice-{getuser()}-gpu-{name}.lock")
