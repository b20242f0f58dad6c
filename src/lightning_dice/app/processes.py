"""A job of several processes, each of them started on the very same job.

Lightning's own launcher runs the command line again for every rank. In a sweep that is the whole
sweep, whose sweeper may give each rank settings of its own. Here the process that Hydra configured
stays out of training and starts every rank by torch's launcher, the one behind ``torchrun``, with
the configuration that it has composed.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple
from uuid import uuid4

from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.pytorch import Trainer
from lightning.pytorch.strategies import ParallelStrategy
from lightning.pytorch.utilities.exceptions import SIGTERMException
from omegaconf import DictConfig, OmegaConf
from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from lightning_dice.rules import SettingError

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
# How long ranks have to end by themselves when one of them has failed or they were asked to.
_PATIENCE = 10


class RankFailed(Exception):  # noqa: N818 - reads as what it says
    """A rank ended before its job did; the message says which one, and why."""


class Stopped(SystemExit):
    """The job was asked to end by a signal, and ends with that signal's exit status."""

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)
        self.number = number
        self.message = f"stopped by {signal.Signals(number).name}"


def stopped(error: BaseException) -> Stopped | None:
    """What Lightning makes of a signal, as what it was; ``None`` of anything else."""
    if isinstance(error, SIGTERMException):
        return Stopped(signal.SIGTERM)  # its own exit status would be that of success
    if isinstance(error, KeyboardInterrupt) or isinstance(error.__context__, KeyboardInterrupt):
        return Stopped(signal.SIGINT)  # Lightning exits where it is interrupted
    return None


class Job(NamedTuple):
    """What one training is, for a process that did not compose it.

    Attributes:
        config: The composed configuration.
        folder: The output folder.
        choices: Which option of each config group was chosen.
    """

    config: DictConfig
    folder: Path
    choices: Mapping[str, str]

    def write(self, path: Path) -> None:
        """Write it as JSON."""
        config = OmegaConf.to_container(self.config, resolve=True)
        job = {"config": config, "folder": str(self.folder), "choices": dict(self.choices)}
        path.write_text(json.dumps(job), encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> Job:
        """Read what ``write`` wrote."""
        job = json.loads(path.read_text(encoding="utf-8"))
        return cls(OmegaConf.create(job["config"]), Path(job["folder"]), job["choices"])


class Failure(NamedTuple):
    """How a rank ended: written by the rank, beside its job.

    Attributes:
        time: Seconds since the epoch.
        message: One line.
        signal: Number of the signal that asked it to end, 0 if none did.
    """

    time: float
    message: str
    signal: int = 0

    @staticmethod
    def of(job: Path, rank: int) -> Path:
        """Where ``rank`` of ``job`` writes it."""
        return job.with_name(f"rank{rank}.json")


def started_by() -> ClusterEnvironment | None:
    """Whoever started this process as one of several: ``torchrun``, or ``srun`` of SLURM.

    A batch script of SLURM is told of tasks too, but they are only there where ``srun`` makes them.

    Raises:
        SettingError: If SLURM's tasks are not such as Lightning can use.
    """
    if TorchElasticEnvironment.detect() and TorchElasticEnvironment().world_size() > 1:
        return TorchElasticEnvironment()
    tasks = int(os.environ.get("SLURM_STEP_NUM_TASKS", 1))
    if tasks == 1 or not SLURMEnvironment.detect():
        return None
    try:
        return SLURMEnvironment()
    except RuntimeError as error:  # its message says what to write instead
        raise SettingError("SLURM", f"{tasks} tasks", " ".join(str(error).split())) from error


def wants_processes(trainer: Trainer) -> bool:
    """Whether ``trainer`` has ranks that nobody has started yet.

    Raises:
        SettingError: If it wants them on several machines, which is not for one process to start;
            if others were started than it is for.
    """
    starter, wanted = started_by(), trainer.num_nodes * trainer.num_devices
    if starter is not None and starter.world_size() != wanted:
        # Lightning would train each by itself, or on a part of the data, all the same.
        started = starter.world_size()
        raise SettingError(
            "trainer.devices",
            trainer.num_devices,
            f"the Trainer is for {wanted} process{'es' if wanted > 1 else ''} and {started} were "
            "started; set trainer.devices and trainer.num_nodes to what torchrun or srun starts, "
            "with trainer=ddp",
        )
    strategy, environment = trainer.strategy, None
    if isinstance(strategy, ParallelStrategy):
        environment = strategy.cluster_environment
    if environment is None or environment.creates_processes_externally:
        return False
    if trainer.num_nodes > 1:
        raise SettingError(
            "trainer.num_nodes",
            trainer.num_nodes,
            "several machines are started from outside, by SLURM or on each of them by: torchrun "
            f"--nnodes {trainer.num_nodes} --nproc-per-node {trainer.num_devices} --rdzv-backend "
            "c10d --rdzv-endpoint HOST:PORT -m lightning_dice.app ... hydra.run.dir=FOLDER",
        )
    return True


def run_processes(job: Job, count: int) -> None:
    """Train ``job`` in ``count`` processes and wait for their end.

    Raises:
        RankFailed: If one of them fails; the others are ended.
        Stopped: If this process is asked to end; so are they.
    """
    with TemporaryDirectory(prefix="lightning-dice-") as scratch:
        path = Path(scratch, "job.json")
        job.write(path)
        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=count,
            run_id=uuid4().hex,
            rdzv_backend="c10d",
            rdzv_endpoint="localhost:0",
            local_addr="localhost",
            max_restarts=0,
            logs_specs=DefaultLogsSpecs(log_dir=str(Path(scratch, "logs"))),
        )
        start = elastic_launch(config, sys.executable)
        with _undisturbed():
            try:
                start("-m", "lightning_dice.app.worker", str(path), str(os.getpid()))
            except ChildFailedError as error:
                cause = _root_cause(error.failures, path)
                if cause.signal:
                    raise Stopped(cause.signal) from None
                raise RankFailed(cause.message) from None
            except SignalException as asked:
                raise Stopped(asked.sigval) from None


def _root_cause(failures: Mapping[int, ProcessFailure], job: Path) -> Failure:
    """What happened first: where one rank is gone, the others soon miss it.

    The launcher ends those that are left by SIGTERM, and what is not gone after a while by SIGKILL.
    """
    words = []
    for path in job.parent.glob("rank*.json"):
        with suppress(OSError, ValueError, TypeError):
            words.append(Failure(*json.loads(path.read_text(encoding="utf-8"))))
    first, now = min(words, default=None), time.time()
    if first is None or now - first.time < _PATIENCE:
        for rank, failure in failures.items():
            if failure.exitcode < 0 and failure.exitcode != -signal.SIGTERM:
                return Failure(now, f"rank {rank} was ended by {_name(failure.exitcode)}")
    if first is not None:
        return first
    rank, failure = next(iter(failures.items()))
    if failure.exitcode < 0:
        return Failure(now, f"rank {rank} was ended by {_name(failure.exitcode)}")
    return Failure(now, f"rank {rank} ended with exit status {failure.exitcode}")


def _name(exitcode: int) -> str:
    return signal.Signals(-exitcode).name


def record_failure(job: Path, rank: int, message: str, number: int = 0) -> None:
    """Leave word of what ended ``rank``; a disk that is full must not hide it."""
    with suppress(OSError):
        text = json.dumps(Failure(time.time(), message, number))
        Failure.of(job, rank).write_text(text, encoding="utf-8")


def hear_quietly(trainer: Trainer) -> None:
    """Let a rank that is asked to end by SIGTERM take note of it, and no more.

    Lightning's handler sends a message, wherever the process is at that moment: where one rank
    alone is asked, it waits for the others for ever. They ask rank 0 at every mini-batch anyway.
    """
    connector = trainer._signal_connector

    def note(*_: object) -> None:
        connector.received_sigterm = True

    setattr(connector, "_sigterm_notifier_fn", note)  # noqa: B010 - a method, to a type checker


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Keep the launcher's log messages, signal handlers and variables from what comes after."""
    logger = logging.getLogger("torch.distributed.elastic")
    level, handlers = logger.level, {number: signal.getsignal(number) for number in _SIGNALS}
    variables = dict(os.environ)
    os.environ["TORCH_ELASTIC_SHUTDOWN_TIMEOUT"] = str(_PATIENCE)
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        os.environ.clear()
        os.environ.update(variables)
