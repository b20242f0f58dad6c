"""The command ``lightning-dice-train``: Hydra in front, one clear message where it fails."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig
from rich.console import Console

from lightning_dice.app.console import complain, message_of, quieten, says_it_all
from lightning_dice.app.processes import started_by, stopped
from lightning_dice.app.schema import config_folder, register
from lightning_dice.app.shorthand import expand_shorthand
from lightning_dice.app.sweeps import train_job
from lightning_dice.app.sweeps.progress import SweepProgress
from lightning_dice.app.train import Summary, train
from lightning_dice.app.tuned import register_resolver
from lightning_dice.rules import SettingError

FULL_ERROR = "HYDRA_FULL_ERROR"


def main() -> None:
    """Run ``lightning-dice-train``."""
    quieten()
    register()
    _let_import_from(str(Path.cwd()))
    folder = config_folder()
    # Hydra prints its own way, traceback and all, unless it is told to raise.
    full_error = os.environ.get(FULL_ERROR) == "1"
    os.environ[FULL_ERROR] = "1"
    run: Callable[[], None] = hydra.main(str(folder), "train", version_base="1.3")(_job)
    try:
        _check_sweep(sys.argv[1:])
        given = sys.argv[1:]
        sys.argv[1:] = [*expand_shorthand(given, folder), *_of_rank(given), *_patience(given)]
        run()
    except (SystemExit, KeyboardInterrupt) as error:
        raise stopped(error) or error from None
    except Exception as error:
        if full_error or not says_it_all(error):
            raise
        complain(message_of(error))
        sys.exit(1)
    finally:
        SweepProgress.stop()


def _job(config: DictConfig) -> float | None:
    register_resolver()  # this may be a process that a launcher has made
    hydra_config = HydraConfig.get()
    _let_import_from(hydra_config.runtime.cwd)
    folder, choices = Path(hydra_config.runtime.output_dir), hydra_config.runtime.choices
    if hydra_config.mode is RunMode.MULTIRUN:
        summary = train_job(config, folder, choices, int(hydra_config.job.num))
    else:
        summary = train(config, folder, choices)
        _say(summary, folder)
    value: float | None = summary["metrics"].get(summary["task"]["metric"])
    return value  # what a sweeper minimises or maximises


def _let_import_from(folder: str) -> None:
    """Let a configuration name one's own modules, as ``python -m`` would: a script does not."""
    if folder not in sys.path:
        sys.path.append(folder)  # last, where it hides nothing


def _check_sweep(arguments: Sequence[str]) -> None:
    """Refuse a sweep that several processes begin. A job of one may have been started anyhow."""
    sweeps = {"-m", "--multirun", "hydra.mode=MULTIRUN"} & set(arguments)
    if sweeps and started_by() is not None:
        raise SettingError(
            "-m",
            "in several processes",
            "every one of them would run the whole sweep; start it without torchrun or srun: "
            "lightning-dice-train -m starts the processes of each job itself",
        )


def _of_rank(arguments: Sequence[str]) -> list[str]:
    """What else Hydra is told in a process that writes nothing: to make no folder of its own."""
    environment = started_by()
    if environment is None or environment.global_rank() == 0:
        return []
    given = any(argument.startswith("hydra.run.dir=") for argument in arguments)
    return ["hydra.output_subdir=null", *([] if given else ["hydra.run.dir=."])]


def _patience(arguments: Sequence[str]) -> list[str]:
    """What else Optuna is told: that a job which fails is no reason to end the sweep."""
    chosen = "hydra/sweeper=optuna" in arguments
    given = any("hydra.sweeper.max_failure_rate" in argument for argument in arguments)
    return ["hydra.sweeper.max_failure_rate=1.0"] if chosen and not given else []


@rank_zero_only
def _say(summary: Summary, folder: Path) -> None:
    task, baseline, rolls = summary["task"], summary["baseline"], summary["rolls"]
    name = task["metric"].replace("val_", "validation ")
    value = summary["metrics"].get(task["metric"])
    shown = "not measured" if value is None else f"{value:.3f} {task['unit']}".rstrip()
    beside = f" ({baseline['name']} {baseline['value']:.3f})" if baseline else ""
    console = Console()
    lines = (
        f"{name} {shown}{beside} after {summary['steps']} steps in {summary['wall_time']:.0f} s",
        f"{rolls['count']} rolls, mean scale {rolls['mean_scale'] or 0:.3f} "
        f"(expected {summary['odds']['mean']:.3f})",
        f"report: {_near(folder / 'report.html')}",
    )
    for line in lines:
        console.print(line, soft_wrap=True, markup=False, highlight=False)


def _near(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
