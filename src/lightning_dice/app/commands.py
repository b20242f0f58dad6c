"""Commands that a message tells its reader to run: they work when they are pasted."""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.errors import HydraException

from lightning_dice.app.processes import started_by

TRAIN = "lightning-dice-train"
RUN_FOLDER, SWEEP_FOLDER, CHECKPOINT = "hydra.run.dir", "hydra.sweep.dir", "ckpt_path"


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
        own = [one for one in Given.arguments if key_of(one) == CHECKPOINT] or own
    more = [override(RUN_FOLDER, str(near(folder))), *own]
    return _changed(Given.arguments, more)


def resume_sweep(folder: Path) -> str:
    """Write the command that resumes the sweep of this process."""
    return _changed(Given.arguments, [override(SWEEP_FOLDER, str(near(folder)))])


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
    keys = {key_of(one) for one in more}
    kept = [one for one in given if key_of(one) not in keys]
    if started_by() is not None:  # torchrun, srun: their part of the command is not known here
        return f"the same command with {shlex.join(more)}"
    # Behind a flag that comes last, Hydra would take no more overrides.
    place = max((i for i, one in enumerate(kept, start=1) if _is_override(one)), default=len(kept))
    return shlex.join([*train_program(), *kept[:place], *more, *kept[place:]])


def _is_override(argument: str) -> bool:
    return "=" in argument and not argument.startswith("-")


def key_of(argument: str) -> str:
    """Return the key of an override."""
    return re.split("=", argument, maxsplit=1)[0].lstrip("+")
