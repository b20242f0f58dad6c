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
from omegaconf import DictConfig, OmegaConf

from lightning_dice.app import check_here
from lightning_dice.app.closing import advising, closing
from lightning_dice.app.commands import Given
from lightning_dice.app.console import complain, message_of, quieten, says_it_all
from lightning_dice.app.processes import Stopped, started_by, stopped
from lightning_dice.app.schema import config_folder, register
from lightning_dice.app.shape import check_shape
from lightning_dice.app.shorthand import expand_shorthand
from lightning_dice.app.starting import check_last
from lightning_dice.app.streams import lasting_streams
from lightning_dice.app.sweeps import train_job
from lightning_dice.app.sweeps.ending import say
from lightning_dice.app.sweeps.progress import SweepProgress
from lightning_dice.app.tuned import register_resolver
from lightning_dice.app.twin import train_both
from lightning_dice.rules import SettingError

FULL_ERROR = "HYDRA_FULL_ERROR"
_FILES = ("ckpt_path", "data.path", "data.tokenizer", "model.encoder")
"""Settings that name a file or a folder."""


def main() -> None:
    """Run ``lightning-dice-train``."""
    with lasting_streams():
        check_here()
        _main()


def _main() -> None:
    quieten()
    register()
    _let_import_from(str(Path.cwd()))
    folder = config_folder()
    # Hydra prints its own way, traceback and all, unless it is told to raise.
    full_error = os.environ.get(FULL_ERROR) == "1"
    os.environ[FULL_ERROR] = "1"
    run: Callable[[], None] = hydra.main(str(folder), "train", version_base="1.3")(_job)
    given = sys.argv[1:]
    Given.remember(given)
    try:
        _check_sweep(given)
        sys.argv[1:] = [*expand_shorthand(given, folder), *_of_rank(given), *_patience(given)]
        run()
    except (SystemExit, KeyboardInterrupt) as error:
        signalled = error if isinstance(error, Stopped) else stopped(error)
        if signalled is None:
            raise
        SweepProgress.stop()
        _tell(_advice(error) or [f"{signalled.message} before anything was trained"])
        raise signalled from None
    except Exception as error:
        if full_error or not says_it_all(error):
            raise
        SweepProgress.stop()
        complain(message_of(error))
        _tell(_advice(error))
        sys.exit(1)
    finally:
        SweepProgress.stop()


def _job(config: DictConfig) -> float | None:
    register_resolver()  # this may be a process that a launcher has made
    hydra_config = HydraConfig.get()
    _let_import_from(hydra_config.runtime.cwd)
    _see_from(Path(hydra_config.runtime.cwd), config)
    check_shape(config)
    folder, choices = Path(hydra_config.runtime.output_dir), hydra_config.runtime.choices
    if hydra_config.mode is RunMode.MULTIRUN:
        summary = train_job(config, folder, choices, int(hydra_config.job.num))
    else:
        with advising(folder):
            check_last(config, hydra_config, folder)
            summary, twin = train_both(config, folder, choices, _say)
        _say(*closing(summary, twin, folder))
    value: float | None = summary["metrics"].get(summary["task"]["metric"])
    return value  # what a sweeper minimises or maximises


def _advice(error: BaseException) -> list[str]:
    """Return what to do next, as far as it is known: notes of a run, or how to resume a sweep."""
    sweep = None if isinstance(error, SettingError) else SweepProgress.resume()
    return [*getattr(error, "__notes__", ()), *([] if sweep is None else [f"resume: {sweep}"])]


@rank_zero_only
def _tell(lines: Sequence[str]) -> None:
    for line in lines:
        complain(line)


@rank_zero_only
def _say(*lines: str) -> None:
    say(*lines)


def _see_from(folder: Path, config: DictConfig) -> None:
    """Find the files that a configuration names from where the command was given.

    With ``hydra.job.chdir=true`` the job runs in its output folder.
    """
    if folder.samefile(Path.cwd()):
        return
    for key in _FILES:
        value = OmegaConf.select(config, key)
        if isinstance(value, str) and (folder / value).exists():
            OmegaConf.update(config, key, str(folder / value))


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
