"""Commands that a message tells its reader to run: they work when they are pasted."""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from lightning_dice.app.processes import started_by

TRAIN = "lightning-dice-train"
RUN_FOLDER, SWEEP_FOLDER, CHECKPOINT = "hydra.run.dir", "hydra.sweep.dir", "ckpt_path"
_KEPT = ("hydra.job.chdir=", "hydra.searchpath=")
"""Overrides of Hydra's own settings that a run needs to be the same run again."""


class Given:
    """The command line of this process, and the folder that it was given in."""

    arguments: tuple[str, ...] = ()
    folder: Path | None = None

    @classmethod
    def remember(cls, arguments: Sequence[str]) -> None:
        """Keep the arguments as they were typed, before anything changes them."""
        cls.arguments, cls.folder = tuple(arguments), Path.cwd()

    @classmethod
    def cwd(cls) -> Path:
        """Return the folder that the reader's shell is in; Hydra may have left it."""
        return cls.folder or Path.cwd()


def near(path: Path) -> Path:
    """Return a path as it is seen from where the command was given."""
    whole, start = Path(path).absolute(), Given.cwd()
    return whole.relative_to(start) if whole.is_relative_to(start) else whole


def resume_run(folder: Path, *, again: bool = False) -> str:
    """Write the command that resumes the run of this process.

    Args:
        folder: The run's folder.
        again: Whether to keep the ``ckpt_path`` that was given, where the run has no checkpoint of
            its own yet.
    """
    own = [f"{CHECKPOINT}=last"]
    if again:
        own = [one for one in Given.arguments if _key(one) == CHECKPOINT] or own
    more = [override(RUN_FOLDER, str(near(folder))), *own]
    return _changed(Given.arguments, more)


def resume_sweep(folder: Path) -> str:
    """Write the command that resumes the sweep of this process."""
    return _changed(Given.arguments, [override(SWEEP_FOLDER, str(near(folder)))])


def resume_recorded(folder: Path) -> str | None:
    """Write the command that resumes a run from what its folder knows of itself.

    Args:
        folder: The run's folder.

    Returns:
        The command, for the folder that the current command was given in; ``None`` where Hydra's
        record of the run is missing or damaged.
    """
    try:
        record = OmegaConf.to_container(OmegaConf.load(folder / ".hydra" / "hydra.yaml"))
        given = _recorded(record["hydra"])  # type: ignore[call-overload, index]
        there = Path(record["hydra"]["runtime"]["cwd"])  # type: ignore[call-overload, index]
    except (OSError, YAMLError, OmegaConfBaseException, ValueError, LookupError, TypeError):
        return None
    if not all(word.isprintable() for word in [*given, str(there)]):
        return None  # it could hide from a reader what it does
    here = Given.cwd()
    elsewhere = there.is_dir() and there.resolve() != here.resolve()
    if not elsewhere:
        place = near(folder)
    else:  # modules and data of one's own are found from there
        whole = folder.resolve()
        place = whole.relative_to(there) if whole.is_relative_to(there) else whole
    program = _absolute(train_program()) if elsewhere else train_program()
    kept = [one for one in given if _key(one) not in (RUN_FOLDER, CHECKPOINT)]
    resumed = [override(RUN_FOLDER, str(place)), f"{CHECKPOINT}=last"]
    command = shlex.join([*program, *kept, *resumed])
    return f"cd {shlex.quote(str(there))} && {command}" if elsewhere else command


def override(key: str, value: str) -> str:
    """Write an override such that Hydra reads exactly this text.

    Example:
        >>> override("hydra.run.dir", "outputs/a"), override("hydra.run.dir", "a, b")
        ('hydra.run.dir=outputs/a', "hydra.run.dir='a, b'")
    """
    escaped = value.replace("${", "\\${")  # not an interpolation
    for text in (escaped, QuotedString(escaped, Quote.single).with_quotes()):
        try:
            read = OverridesParser.create().parse_override(f"{key}={text}").value()
        except HydraException:
            continue
        if read == escaped:
            return f"{key}={text}"
    return f"{key}={text}"


def train_program() -> list[str]:
    """Return the words that start ``lightning-dice-train`` here, wherever it is installed."""
    return program(TRAIN) or [sys.executable, "-m", "lightning_dice.app"]


def program(name: str) -> list[str]:
    """Return the word that starts a script of this installation; empty where there is none."""
    beside = shutil.which(name, path=str(Path(sys.executable).parent))
    found = shutil.which(name)
    if found is not None and (beside is None or Path(found).samefile(beside)):
        return [name]
    return [] if beside is None else [str(near(Path(beside)))]


def read_with(command: str, folder: Path) -> str:
    """Write a command of ``lightning-dice`` for a folder."""
    words = program("lightning-dice") or ["lightning-dice"]
    return shlex.join([*words, *command.split(), str(near(folder))])


def _changed(given: Iterable[str], more: Sequence[str]) -> str:
    keys = {_key(one) for one in more}
    kept = [one for one in given if _key(one) not in keys]
    if started_by() is not None:  # torchrun, srun: their part of the command is not known here
        return f"the same command with {shlex.join(more)}"
    # Behind a flag that comes last, Hydra would take no more overrides.
    place = max((i for i, one in enumerate(kept, start=1) if _is_override(one)), default=len(kept))
    return shlex.join([*train_program(), *kept[:place], *more, *kept[place:]])


def _is_override(argument: str) -> bool:
    return "=" in argument and not argument.startswith("-")


def _key(argument: str) -> str:
    return re.split("=", argument, maxsplit=1)[0].lstrip("+")


def _absolute(words: Sequence[str]) -> list[str]:
    first = Path(words[0])
    return [str(Given.cwd() / first) if len(first.parts) > 1 else words[0], *words[1:]]


def _recorded(hydra: Any) -> list[str]:
    """Return the arguments of a run in Hydra's record; a sweep's job has those of its own."""
    flags: list[str] = []
    for source in hydra["runtime"]["config_sources"]:
        if source["provider"] == "command-line":
            flags += ["--config-dir", str(source["path"])]
    if hydra["job"]["config_name"] != "train":
        flags += ["--config-name", str(hydra["job"]["config_name"])]
    own = [str(one) for one in hydra["overrides"]["hydra"] if str(one).startswith(_KEPT)]
    return [*flags, *map(str, hydra["overrides"]["task"]), *own]
