"""A grid: every combination, each once, and only those that have not finished."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from math import prod
from pathlib import Path
from typing import NamedTuple

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.plugins.launcher import Launcher
from omegaconf import DictConfig, OmegaConf, open_dict

from lightning_dice.app.build import build_arm, build_dice, build_task
from lightning_dice.app.shape import check_shape
from lightning_dice.app.shorthand import NO_VALUE
from lightning_dice.app.summary import FORMAT, write_summary
from lightning_dice.app.sweeps.ending import conclude, ends_of, say, standing
from lightning_dice.app.sweeps.job import check_alone, check_same_run
from lightning_dice.app.sweeps.plan import Planned, one_of_each, plan
from lightning_dice.app.sweeps.progress import SweepBar
from lightning_dice.app.sweeps.status import ENDED, Watch, begun, summary_of, written
from lightning_dice.rules import SettingError

MOST_JOBS = 100_000
"""Combinations of one sweep; more of them are a mistake, and only listing them takes minutes."""
ATTEMPTS = 2
"""How often a job is begun whose process is lost: where one process is killed, a launcher may end
the others with it."""


class Grid:
    """Trains every combination of what is swept, with whatever launcher.

    A run that has finished is not made again, and one that fails leaves the others alone.

    Args:
        config: What Hydra composed for the sweep as a whole.
        loader: Composes the configurations of jobs.
        launcher: Runs jobs.
        batch: Jobs that the launcher is given at a time.
    """

    def __init__(
        self, config: DictConfig, loader: ConfigLoader, launcher: Launcher, batch: int
    ) -> None:
        if batch < 1:
            raise SettingError("hydra.sweeper.max_batch_size", batch, "expected 1 or more")
        self._config = config
        self._loader = loader
        self._launcher = launcher
        self._batch = batch

    def sweep(self, arguments: Sequence[str], named: Collection[str] = ()) -> None:
        """Train what has not finished of what ``arguments`` describe, and say what came of it.

        Args:
            arguments: Hydra's overrides; of two for one key the later holds.
            named: Keys that are in the names of folders, though they have one value only.

        Raises:
            SettingError: If no job can be made, or the folder holds runs of another sweep.
            SweepEnded: If jobs failed; the others have been trained all the same.
        """
        grid = self._grid(arguments)
        if (combinations := prod(map(len, grid.values()))) > MOST_JOBS:
            raise SettingError("-m", combinations, f"expected at most {MOST_JOBS} combinations")
        jobs = plan(grid, named)
        folder = Path(self._config.hydra.sweep.dir).absolute()  # jobs may leave this one
        self._check(jobs, folder)
        folder.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(self._config, folder / "multirun.yaml")
        left = [job for job in jobs if _status(folder, job) != "finished"]
        try:
            if left:
                with SweepBar(Watch(lambda: [folder / job.name for job in left]), len(left)):
                    self._launch(left, folder)
        except (KeyboardInterrupt, SystemExit):
            say(standing(ends_of(jobs, folder), len(left), folder))
            raise
        then = self._config.hydra.callbacks.progress.then
        conclude(ends_of(jobs, folder), len(left), folder, then)

    def _grid(self, arguments: Sequence[str]) -> dict[str, list[str]]:
        """The values of each key, in the order in which keys are first said."""
        parser = OverridesParser.create(config_loader=self._loader)
        grid: dict[str, list[str]] = {}
        keys: dict[tuple[str, str | None], str] = {}
        for item in parser.parse_overrides(list(arguments)):
            key = item.get_key_element()
            earlier = keys.setdefault((item.key_or_group, item.package), key)
            if earlier != key:  # +key, ++key and key are one key, of which the last one counts
                grid.pop(earlier, None)
                keys[item.key_or_group, item.package] = key
            if not item.is_sweep_override():
                grid[key] = [str(item.get_value_element_as_str())]
            elif item.is_discrete_sweep():
                grid[key] = list(item.sweep_string_iterator())
                if not grid[key]:
                    raise SettingError(key, item.get_value_string(), NO_VALUE)
            else:
                remedy = "a grid has single values; list them, or use hydra/sweeper=optuna"
                raise SettingError("-m", item.input_line, remedy)
        return grid

    def _check(self, jobs: Sequence[Planned], folder: Path) -> None:
        """Refuse what no job could be made of, and a folder that holds another sweep."""
        refusals, made = [], 0
        for job in one_of_each(jobs):
            config = self._compose(job)
            check_shape(config)
            check_alone(config)
            check_same_run(folder / job.name, summary_of(folder / job.name), config)
            try:
                build_dice(config)
                build_task(config, build_arm(config).lr_factor)
                made += 1
            except SettingError as error:
                refusals.append(error)
        if refusals and not made:
            raise refusals[0]

    def _compose(self, job: Planned) -> DictConfig:
        config = self._loader.load_sweep_config(self._config, list(job.overrides))
        with open_dict(config):
            del config["hydra"]
        return config

    def _launch(self, jobs: Sequence[Planned], folder: Path) -> None:
        losses: Counter[Planned] = Counter()
        left, number = list(jobs), 0
        while left:
            batch = left[: self._batch]
            before = {job: _signs(folder / job.name) for job in batch}
            try:
                # What became of them is in their summaries; there are too many to hold.
                self._launcher.launch([_told(job) for job in batch], initial_job_idx=number)
                left = left[len(batch) :]
            except Exception as error:
                now = {job: _signs(folder / job.name) for job in batch}
                lost = [job for job in batch if now[job].begun not in (0, before[job].begun)]
                ended = [job for job in batch if _status(folder, job) in ENDED]
                over = [job for job in ended if now[job].written != before[job].written]
                if not over and not lost:
                    raise  # no job had to do with it
                losses.update(lost)
                for job in lost:
                    if losses[job] == ATTEMPTS:
                        _give_up(folder / job.name, error)
                        over.append(job)
                left = [job for job in left if job not in over]
            number += len(batch)


def _told(job: Planned) -> list[str]:
    return [*job.overrides, f"hydra.sweep.subdir='{job.name}'"]


class _Signs(NamedTuple):
    begun: int
    written: int


def _signs(folder: Path) -> _Signs:
    """What tells whether a job has been begun, and has ended, since it was last looked at."""
    return _Signs(begun(folder), written(folder))


def _give_up(folder: Path, error: Exception) -> None:
    """Record that a job failed whose process was lost as often as it was begun."""
    words = " ".join(str(error).split()).partition(". ")[0]
    text = f"its process was lost, {ATTEMPTS} times ({type(error).__name__}: {words})"
    write_summary(
        folder, {"format": FORMAT, **summary_of(folder), "status": "failed", "error": text}
    )


def _status(folder: Path, job: Planned) -> str:
    return str(summary_of(folder / job.name).get("status"))
