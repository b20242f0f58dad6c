"""The command ``lightning-dice-train``: Hydra in front, one clear message where it fails."""

from __future__ import annotations

import logging
import os
import re
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeGuard

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from rich.console import Console

from lightning_dice.app.schema import config_folder, register
from lightning_dice.app.train import Summary, train
from lightning_dice.rules import SettingError

FULL_ERROR = "HYDRA_FULL_ERROR"
SHORT_ERROR = "LIGHTNING_DICE_SHORT_ERROR"
"""Tells the processes that this one starts that nobody asked for a traceback."""
EXPECTED = (
    SettingError,
    HydraException,
    OmegaConfBaseException,
    MisconfigurationException,
)
"""Errors whose message says all there is to say."""
# Where a message is about the configuration's types, not about its values.
_NOISE = re.compile(r"\n(Config search path:[\s\S]*|\s*(reference_type|object_type)=\S*)")


def main() -> None:
    """Run ``lightning-dice-train``."""
    _quieten()
    register()
    folder = config_folder()
    sys.argv[1:] = expand_shorthand(sys.argv[1:], folder)
    # Hydra prints its own way, traceback and all, unless it is told to raise.
    full_error = os.environ.get(FULL_ERROR) == "1" and SHORT_ERROR not in os.environ
    if not full_error:
        os.environ |= {FULL_ERROR: "1", SHORT_ERROR: "1"}
    run: Callable[[], None] = hydra.main(str(folder), "train", version_base="1.3")(_job)
    try:
        run()
    except Exception as error:
        if full_error or not (isinstance(error, EXPECTED) or _is_about_a_file(error)):
            raise
        Console(stderr=True).print(_message(error), soft_wrap=True, markup=False, highlight=False)
        sys.exit(1)


def _job(config: DictConfig) -> float | None:
    hydra_config = HydraConfig.get()
    if hydra_config.mode == RunMode.MULTIRUN and config.trainer.devices not in (1, "1", None):
        raise SettingError(
            "trainer.devices",
            config.trainer.devices,
            "every process of a job would start the whole sweep again; sweep with trainer.devices=1"
            ", or start the jobs one by one without -m",
        )
    folder = Path(hydra_config.runtime.output_dir)
    summary = train(config, folder, hydra_config.runtime.choices)
    _say(summary, folder)
    value: float | None = summary["metrics"].get(summary["task"]["metric"])
    return value  # what a sweeper minimises or maximises


@rank_zero_only
def _say(summary: Summary, folder: Path) -> None:
    task, baseline, rolls = summary["task"], summary["baseline"], summary["rolls"]
    name = task["metric"].replace("val_", "validation ")
    value = summary["metrics"].get(task["metric"])
    shown = "not measured" if value is None else f"{value:.3f} {task['unit']}"
    console = Console()
    lines = (
        f"{name} {shown} ({baseline['name']} {baseline['value']:.3f}) "
        f"after {summary['steps']} steps in {summary['wall_time']:.0f} s",
        f"{rolls['count']} rolls, mean scale {rolls['mean_scale'] or 0:.3f} "
        f"(expected {summary['odds']['mean']:.3f})",
        f"report: {_near(folder / 'report.html')}",
    )
    for line in lines:
        console.print(line, soft_wrap=True, markup=False, highlight=False)


def _near(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def expand_shorthand(arguments: Sequence[str], folder: Path) -> list[str]:
    """Let the groups of a saving throw take values that have no file of their own.

    ``threshold=12`` and ``die=3d6kh1`` become ``saving_throw.threshold=12`` and so on, unless every
    value names an option of the group, as in ``threshold=easy,hard``. Beside an ``experiment`` all
    of them do: its own values stand above those of groups, and what is said here above both.

    Args:
        arguments: Command-line arguments.
        folder: Where the config groups are.

    Example:
        >>> expand_shorthand(["threshold=easy", "threshold=12,easy", "die=d7"], config_folder())
        ['threshold=easy', 'saving_throw.threshold=12,5', 'saving_throw.die=d7']
        >>> expand_shorthand(["experiment=skip_update", "die=d20"], config_folder())
        ['experiment=skip_update', 'saving_throw.die=d20']
    """
    experiment = any(argument.startswith("experiment=") for argument in arguments)
    return [_expand(argument, folder, named=not experiment) for argument in arguments]


def _expand(argument: str, folder: Path, named: bool) -> str:
    group, given, value = argument.partition("=")
    if not given or group not in ("threshold", "die", "scaling"):
        return argument
    options = {path.stem: path for path in (folder / group).glob("*.yaml")}
    values = value.split(",")
    if named and options.keys() >= set(values):
        return argument
    plain = [str(_value(options[value])) if value in options else value for value in values]
    return f"saving_throw.{group}={','.join(plain)}"


def _value(option: Path) -> object:
    config = OmegaConf.to_container(OmegaConf.load(option))
    assert isinstance(config, dict)
    return config[option.parent.name]


def _message(error: BaseException) -> str:
    if _is_about_a_file(error):
        folder = "the output folder is chosen by hydra.run.dir (hydra.sweep.dir with -m)"
        return f"{error.filename or 'output folder'}: {error.strerror}; {folder}"
    text = str(error)
    if isinstance(error, HydraException) and isinstance(error.__cause__, OmegaConfBaseException):
        text = f"{text}\n{error.__cause__}"
    return _NOISE.sub("", text).strip()


def _is_about_a_file(error: BaseException) -> TypeGuard[OSError]:
    # Hydra's own error for a missing option is an OSError too.
    return isinstance(error, OSError) and not isinstance(error, HydraException)


def _quieten() -> None:
    """Leave the terminal to the progress bar; warnings are one line each."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", ".*does not have many workers.*")
    warnings.filterwarnings("ignore", "Checkpoint directory .* exists and is not empty")
    warnings.filterwarnings("ignore", "The AccumulateGrad node's stream")  # torch, of its own DDP
    warnings.filterwarnings("ignore", ".*LeafSpec.* is deprecated.*")  # Lightning's use of torch
    warnings.showwarning = _one_line


def _one_line(message: Warning | str, *_: Any, **__: Any) -> None:
    text = " ".join(str(message).split())
    Console(stderr=True).print(f"warning: {text}", soft_wrap=True, markup=False, highlight=False)
