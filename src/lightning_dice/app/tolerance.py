"""The tolerance experiment on a model of one's own, in ten lines of Python."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from lightning.pytorch import LightningDataModule, LightningModule
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lightning_dice.app.build import build_dice, build_metric
from lightning_dice.app.described import describe, describe_optimizer
from lightning_dice.app.errors import JobEnded
from lightning_dice.app.optimizers import Offered, OptimizerFactory, hold_to
from lightning_dice.app.schema import TrainConfig, config_folder
from lightning_dice.app.sweeps import train_job
from lightning_dice.app.sweeps.ending import conclude, ends_of
from lightning_dice.app.sweeps.job import check_same_run
from lightning_dice.app.sweeps.plan import Planned, plan
from lightning_dice.app.sweeps.progress import SweepBar
from lightning_dice.app.sweeps.status import Watch, summary_of
from lightning_dice.rules import SavingThrow, SettingError

CONTROLS = ("none", "plain", "plain_mean")
"""The arms: dice, plain training, and plain training with the mean step of the dice."""
TARGETS = ("gradient", "update")


def train_tolerance(
    make: Callable[[OptimizerFactory], LightningModule],
    data: Callable[[], LightningDataModule],
    optimizers: Mapping[str, OptimizerFactory],
    *,
    throws: Sequence[SavingThrow],
    seeds: Sequence[int],
    metric: str,
    mode: Literal["min", "max"],
    unit: str = "",
    folder: Path | str,
    max_steps: int,
    targets: Sequence[str] = TARGETS,
    **trainer: Any,
) -> None:
    """Train a model with several optimizers, each with worse and worse dice.

    For every optimizer and seed there is a run without dice, one for each saving throw and target,
    and one for each saving throw at its mean step: the learning rate times E[s], without dice. Each
    leaves a folder of its own, for ``lightning-dice tolerance`` and ``lightning-dice report``. Runs
    that have finished are not made again, and one that fails leaves the others alone.

    Args:
        make: Makes the model; its ``configure_optimizers`` calls what it is given on parameters.
        data: Makes the data, anew for every run, so that no run leaves a trace in the next.
        optimizers: What makes an optimizer from parameters, by name.
        throws: The saving throws.
        seeds: Seeds of weights, data order and dice.
        metric: The name under which the model logs what it is judged by.
        mode: Whether less (``"min"``) or more (``"max"``) of it is better.
        unit: What it is measured in.
        folder: Where the folders of runs are.
        max_steps: Optimizer steps of each run.
        targets: What is scaled.
        **trainer: Other settings of the Trainer, such as ``gradient_clip_val``. Each run has one
            device, and is validated at its end unless ``val_check_interval`` says otherwise.

    Raises:
        SettingError: If a setting cannot be used, or the folder holds other runs.
        SweepEnded: If runs failed; the others have been trained all the same.
    """
    task = _Task(make, data, optimizers)
    given = {"devices": 1, "num_sanity_val_steps": 0, "val_check_interval": max_steps, **trainer}
    judged = {"name": metric, "unit": unit, "mode": mode}
    shared = _shared({"metric": judged, "trainer": {**given, "max_steps": max_steps}})
    place = Path(folder)
    jobs = _jobs(optimizers, throws, targets, seeds)
    configs = {job: _config(job, shared, task) for job in jobs}
    for job, config in configs.items():
        _check(config)
        check_same_run(place / job.name, summary_of(place / job.name), config)
    left = [job for job in jobs if summary_of(place / job.name).get("status") != "finished"]
    watch = Watch(lambda: [place / job.name for job in left])
    with warnings.catch_warnings(), SweepBar(watch, len(left)):
        warnings.simplefilter("default")  # they go into a run's folder, and end none
        for number, job in enumerate(left):
            (place / job.name).mkdir(parents=True, exist_ok=True)
            with suppress(JobEnded):  # its summary says why
                name = _chosen(job)["optimizer"]
                choices = {**task.names, "optimizer": name}
                train_job(configs[job], place / job.name, choices, number, task.build(name))
    conclude(ends_of(jobs, place), len(left), place, "tolerance")


@dataclass(frozen=True)
class _Task:
    """What is trained on what."""

    make: Callable[[OptimizerFactory], LightningModule]
    data: Callable[[], LightningDataModule]
    optimizers: Mapping[str, OptimizerFactory]

    @property
    def names(self) -> dict[str, str]:
        described = {"model": describe(self.make), "data": describe(self.data)}
        return {group: node["_target_"].rpartition(".")[2] for group, node in described.items()}

    def build(
        self, optimizer: str
    ) -> Callable[[DictConfig, float], tuple[LightningModule, LightningDataModule]]:
        """What makes model and data, for a learning rate that is multiplied by a factor."""

        def build(_: DictConfig, lr_factor: float) -> tuple[LightningModule, LightningDataModule]:
            offered = Offered(self.optimizers[optimizer], lr_factor)
            model = self.make(offered)
            hold_to(model, offered)
            return model, self.data()

        return build


def _jobs(
    optimizers: Mapping[str, OptimizerFactory],
    throws: Sequence[SavingThrow],
    targets: Sequence[str],
    seeds: Sequence[int],
) -> list[Planned]:
    """Every arm of every optimizer and seed, each once."""
    given = {"optimizers": optimizers, "throws": throws, "targets": targets, "seeds": seeds}
    for name, values in given.items():
        if not values:
            raise SettingError(name, list(values), "leaves nothing to train; expected one or more")
    jobs = {}
    for words in map(_words, throws):
        grid = {
            "optimizer": list(optimizers),
            "control": list(CONTROLS),
            "dice.target": list(targets),
            **{key: [word] for key, word in words.items()},
            "seed": [str(seed) for seed in seeds],
        }
        # A run's name must not depend on the others: more may be asked for later.
        unusual = {key for key, word in words.items() if word != _words(SavingThrow())[key]}
        named = {*grid.keys() - words.keys(), "saving_throw.threshold", *unusual}
        jobs.update(dict.fromkeys(plan(grid, named)))
    return list(jobs)


def _words(throw: SavingThrow) -> dict[str, str]:
    return {f"saving_throw.{key}": json.dumps(value) for key, value in throw.settings().items()}


def _chosen(job: Planned) -> dict[str, str]:
    return dict(item.split("=", 1) for item in job.overrides)


def _shared(given: Mapping[str, Any]) -> DictConfig:
    """What all runs have: the application's configuration, without what such runs do not keep."""
    base = OmegaConf.load(config_folder() / "train.yaml")
    assert isinstance(base, DictConfig)
    del base["defaults"], base["hydra"]
    own: dict[Any, Any] = {
        "dice": {"granularity": "per_accumulation_step", "scope": "model"},
        **dict.fromkeys(("report", "checkpoints", "progress"), False),
        **given,
    }
    try:
        schema = OmegaConf.structured(TrainConfig)
        return DictConfig(OmegaConf.merge(schema, base, own))
    except OmegaConfBaseException as error:
        reason = str(error).splitlines()[0]
        raise SettingError("trainer", dict(given["trainer"]), reason) from error


def _config(job: Planned, shared: DictConfig, task: _Task) -> DictConfig:
    chosen = _chosen(job)
    optimizer = chosen.pop("optimizer")
    own = {
        "model": describe(task.make),
        "data": describe(task.data),
        "optimizer": describe_optimizer(optimizer, task.optimizers[optimizer]),
        "dice": {"target": chosen.pop("dice.target", TARGETS[0])},
        "saving_throw": SavingThrow().settings(),
    }
    dotted = OmegaConf.from_dotlist([f"{key}={value}" for key, value in chosen.items()])
    return DictConfig(OmegaConf.merge(shared, own, dotted))


def _check(config: DictConfig) -> None:
    """Refuse what no run can be made of; a control may have no use for one saving throw."""
    build_metric(config)
    if config.control == "none":
        build_dice(config)
