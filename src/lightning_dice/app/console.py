"""What the terminal shows besides the progress bar: one line a warning, one message an error."""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeGuard

from hydra.errors import HydraException
from lightning.fabric.utilities.exceptions import MisconfigurationException
from omegaconf.errors import OmegaConfBaseException
from rich.console import Console

from lightning_dice.app.errors import JobEnded, SweepEnded
from lightning_dice.app.processes import RankFailed
from lightning_dice.extras import install_command
from lightning_dice.rules import SettingError

# Where a message is about the configuration's types, not about its values.
_NOISE = re.compile(r"\n(Config search path:[\s\S]*|\s*(reference_type|object_type)=\S*)")
_LAUNCHERS = (  # which name each of a thousand jobs
    "hydra._internal.core_plugins.basic_launcher",
    "hydra_plugins.hydra_joblib_launcher",
    "hydra_plugins.hydra_ray_launcher",
    "hydra_plugins.hydra_submitit_launcher",
)
_PLUGIN = re.compile(
    r"Could not find 'hydra/(?:launcher|sweeper)/(joblib|optuna|ray|submitit)(?:_\w+)?'"
)
"""Options that Hydra has with a plugin, each of which is an extra of that name."""
_EXPECTED = (
    SweepEnded,
    JobEnded,
    SettingError,
    RankFailed,
    HydraException,
    OmegaConfBaseException,
    MisconfigurationException,
)


def says_it_all(error: BaseException) -> bool:
    """Whether the message is all that a user needs, so that a traceback would only hide it."""
    return isinstance(error, _EXPECTED) or _is_about_a_file(error) or _comes_from_hydra(error)


def message_of(error: BaseException) -> str:
    """What to show of an error that ``says_it_all``."""
    if _is_about_a_file(error):
        folder = "the output folder is chosen by hydra.run.dir (hydra.sweep.dir with -m)"
        return f"{error.filename or 'output folder'}: {error.strerror}; {folder}"
    text = str(error)
    if not isinstance(error, _EXPECTED):
        text = f"these settings cannot be composed: {text} ({type(error).__name__})"
    if isinstance(error, HydraException) and isinstance(error.__cause__, OmegaConfBaseException):
        text = f"{text}\n{error.__cause__}"
    text = _NOISE.sub("", text).strip()
    if isinstance(error, HydraException) and (plugin := _PLUGIN.search(text)):
        text = f"{text}\nIts plugin is missing; {install_command(plugin[1])}"
    return text


def _is_about_a_file(error: BaseException) -> TypeGuard[OSError]:
    # Hydra's own error for a missing option is an OSError too.
    return isinstance(error, OSError) and not isinstance(error, HydraException)


def _comes_from_hydra(error: BaseException) -> bool:
    """Whether Hydra or OmegaConf failed at what it was given, with an error of Python's own."""
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    module = "" if place is None else str(place.tb_frame.f_globals.get("__name__"))
    return module.partition(".")[0] in ("hydra", "omegaconf", "antlr4")


def complain(text: str) -> None:
    """One line, or a message of several, to standard error."""
    Console(stderr=True).print(text, soft_wrap=True, markup=False, highlight=False)


def quieten() -> None:
    """Leave the terminal to the progress bar; warnings are one line each."""
    for package in ("lightning.pytorch", "lightning.fabric", *_LAUNCHERS):
        logging.getLogger(package).setLevel(logging.WARNING)
    logging.getLogger("hydra.utils").setLevel(logging.CRITICAL)  # what cannot be found is raised
    warnings.filterwarnings("ignore", ".*does not have many workers.*")
    warnings.filterwarnings("ignore", "The `srun` command is available")  # processes are ours
    warnings.filterwarnings("ignore", "Checkpoint directory .* exists and is not empty")
    warnings.filterwarnings("ignore", "Be aware that when using `ckpt_path`")  # dice.changes
    # The processes of a job validate like this within training, too, where Lightning says nothing.
    warnings.filterwarnings("ignore", "Using `DistributedSampler` with the dataloaders")
    warnings.filterwarnings("ignore", "The AccumulateGrad node's stream")  # torch, of its own DDP
    warnings.filterwarnings("ignore", ".*LeafSpec.* is deprecated.*")  # Lightning's use of torch
    warnings.showwarning = _one_line


@contextmanager
def warnings_to(path: Path) -> Iterator[None]:
    """Write warnings into a file instead, a line each: a sweep has a thousand times the same."""

    def write(message: Warning | str, *_: Any, **__: Any) -> None:
        with path.open("a", encoding="utf-8") as file:
            file.write(f"{' '.join(str(message).split())}\n")

    with warnings.catch_warnings():
        warnings.showwarning = write
        yield


def _one_line(message: Warning | str, *_: Any, **__: Any) -> None:
    complain(f"warning: {' '.join(str(message).split())}")
