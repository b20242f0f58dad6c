"""One bar for a whole sweep, with the time that is left."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, open_dict, read_write
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from typing_extensions import override

from lightning_dice.app.commands import read_with, resume_sweep
from lightning_dice.app.schema import config_folder
from lightning_dice.app.shorthand import DICE, expand_params
from lightning_dice.app.sweeps.ending import say
from lightning_dice.app.sweeps.status import Watch

EVERY = 1.0
"""Seconds between two looks at the runs."""
LINE_EVERY = 60.0
"""Seconds between two lines, where nothing can be redrawn."""


class SweepBar:
    """Shows how many runs have ended, while the launcher waits for them.

    It reads what runs write, since they may be in other processes or on other machines.

    Args:
        ended: Counts by status the runs that have ended; called from a thread of the bar's own.
        total: How many there will be, if that is known.
        console: Where to draw; standard error by default.

    Example:
        >>> with SweepBar(lambda: Counter(finished=2), total=2, console=Console(quiet=True)):
        ...     pass
    """

    def __init__(
        self,
        ended: Callable[[], Counter[str]],
        total: int | None,
        console: Console | None = None,
    ) -> None:
        self._ended = ended
        self._total = total
        self._console = console or Console(stderr=True)
        self._stop = threading.Event()
        self._bar = Progress(
            TextColumn("sweep"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("runs{task.fields[words]}"),
            TimeRemainingColumn(),
            TextColumn("left"),
            console=self._console,
            expand=True,
            speed_estimate_period=600,
        )
        self._task = self._bar.add_task("sweep", total=total, words="")
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> SweepBar:
        if self._console.is_terminal:
            self._bar.start()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._show(self._ended())
        if self._console.is_terminal:
            self._bar.stop()

    def _run(self) -> None:
        said, last = time.monotonic(), 0
        while not self._stop.wait(EVERY):
            ended = self._ended()
            self._show(ended)
            done, now = ended.total(), time.monotonic()
            if not self._console.is_terminal and done > last and now - said >= LINE_EVERY:
                of = "" if self._total is None else f" of {self._total}"
                self._console.print(f"{done}{of} runs{words(ended)}", soft_wrap=True)
                said, last = now, done

    def _show(self, ended: Counter[str]) -> None:
        self._bar.update(self._task, completed=ended.total(), words=words(ended))


def words(ended: Counter[str]) -> str:
    """What is to be said of runs that did not simply finish.

    Example:
        >>> words(Counter(finished=7)), words(Counter(finished=7, failed=2, refused=1))
        ('', ' (2 failed, 1 refused)')
    """
    parts = [f"{ended[status]} {status}" for status in ("failed", "refused") if ended[status]]
    return f" ({', '.join(parts)})" if parts else ""


class SweepProgress(Callback):
    """The bar and the last line of a sweep whose jobs are chosen as it goes, as by Optuna.

    The sweeper ``grid`` knows its jobs, and has both of its own.

    Args:
        then: The command of ``lightning-dice`` that shows what a sweep has found.
    """

    _running: ClassVar[list[SweepBar]] = []
    folder: ClassVar[Path | None] = None
    """The folder of the sweep that this process has begun."""

    def __init__(self, then: str = "report") -> None:
        self._then = then

    @override
    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        type(self).folder = folder = Path(config.hydra.sweep.dir).absolute()
        sweeper = config.hydra.sweeper
        if _is_grid(sweeper):
            return
        expand_dice(sweeper)
        bar = SweepBar(Watch(lambda: folder.glob("*/")), sweeper.get("n_trials"))
        self._running.append(bar.__enter__())

    @override
    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        self.stop()
        if self.folder is not None and not _is_grid(config.hydra.sweeper):
            say(f"what they found: {read_with(self._then, self.folder)}")

    @classmethod
    def resume(cls) -> str | None:
        """Write the command that resumes the sweep; ``None`` where none has left anything."""
        return None if cls.folder is None or not cls.folder.is_dir() else resume_sweep(cls.folder)

    @classmethod
    def stop(cls) -> None:
        """Take the bar away, however the sweep ended."""
        while cls._running:
            cls._running.pop().__exit__()


def expand_dice(sweeper: DictConfig) -> None:
    """Let another sweeper's ``params`` name the dice as the command line does."""
    params = sweeper.get("params") or {}
    with read_write(sweeper), open_dict(sweeper):
        for group in [key for key in params if key in DICE]:
            for key, values in expand_params({group: params.pop(group)}, config_folder()).items():
                params[key] = values


def _is_grid(sweeper: DictConfig) -> bool:
    return str(sweeper._target_).endswith(".GridSweeper")
