"""The command that resumes a run, from Hydra's record in its folder, which may be somebody else's.

Whoever is given a command pastes it. So a record gives none that would run code, or read settings,
of the record's own choice.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from lightning_dice.app.commands import (
    CHECKPOINT,
    RUN_FOLDER,
    Given,
    key_of,
    near,
    override,
    train_program,
)
from lightning_dice.app.known_classes import TARGET, known
from lightning_dice.foreign import Unreadable
from lightning_dice.plain_yaml import read_yaml

RECORD = Path(".hydra", "hydra.yaml")
_KEPT = ("hydra.job.chdir=",)
"""Overrides of Hydra's own settings that a run needs to be the same run again."""
_ELSEWHERE = "hydra.searchpath="


class Recorded(NamedTuple):
    """What a run's folder records of the command that started it.

    Attributes:
        words: Its arguments.
        folder: Where it was given.
        odd: The first argument that no command repeats; ``None`` if all can be.
    """

    words: list[str]
    folder: Path
    odd: str | None


def read_record(folder: Path) -> Recorded | None:
    """Read what a run's folder records of the command that started it.

    Returns:
        ``None`` where Hydra's record of the run is missing or damaged.
    """
    try:
        hydra = read_yaml(folder / RECORD, root=folder)["hydra"]
        words, elsewhere = _words(hydra)
        there = Path(hydra["runtime"]["cwd"])
        if not all(word.isprintable() for word in [*words, *elsewhere, str(there)]):
            return None  # it could hide from a reader what it does
        odd = [word for word in words if not _is_plain(word)]
        return Recorded(words, there, next(iter([*elsewhere, *odd]), None))
    except (OSError, Unreadable, LookupError, TypeError):
        return None


def resume_recorded(folder: Path) -> str | None:
    """Write the command that resumes a run from what its folder knows of itself.

    Args:
        folder: The run's folder.

    Returns:
        The command, for the folder that the current command was given in; ``None`` where there is
        no record of the run, or one that no command repeats.
    """
    recorded = read_record(folder)
    if recorded is None or recorded.odd is not None:
        return None
    there, here = recorded.folder, Given.cwd()
    elsewhere = there.is_dir() and there.resolve() != here.resolve()
    if not elsewhere:
        place = near(folder)
    else:  # the paths in its settings are seen from there
        whole = folder.resolve()
        place = whole.relative_to(there) if whole.is_relative_to(there) else whole
    program = _absolute(train_program()) if elsewhere else train_program()
    kept = [one for one in recorded.words if key_of(one) not in (RUN_FOLDER, CHECKPOINT)]
    resumed = [override(RUN_FOLDER, str(place)), f"{CHECKPOINT}=last"]
    command = shlex.join([*program, *kept, *resumed])
    return f"cd {shlex.quote(str(there))} && {command}" if elsewhere else command


def how_to_resume(folder: Path) -> str | None:
    """Say how a run is resumed, with the command at the end, or why no command is given."""
    recorded = read_record(folder)
    if recorded is not None and recorded.odd is not None:
        odd = recorded.odd if len(recorded.odd) <= 80 else f"{recorded.odd[:79]}…"
        return (
            f"its record holds {odd!r}, which could run code of others, so no command is given: "
            "resume it with the command that started it"
        )
    command = resume_recorded(folder)
    return None if command is None else f"resume it with: {command}"


def _words(hydra: Any) -> tuple[list[str], list[str]]:
    """Return the arguments in Hydra's record, and those that name other folders of settings."""
    elsewhere = [
        f"--config-dir {source['path']}"
        for source in hydra["runtime"]["config_sources"]
        if source["provider"] == "command-line"
    ]
    own = [str(one) for one in hydra["overrides"]["hydra"]]
    elsewhere += [one for one in own if key_of(one) == key_of(_ELSEWHERE)]
    name = str(hydra["job"]["config_name"])
    if name != "train":
        elsewhere.append(f"--config-name {name}")
    task = [str(one) for one in hydra["overrides"]["task"]]
    return [*task, *(one for one in own if one.startswith(_KEPT))], elsewhere


def _is_plain(word: str) -> bool:
    """Tell whether an argument can neither name a class of others nor bring in other settings."""
    key, _, value = word.partition("=")
    if key.startswith("-") or (key_of(word).startswith("hydra") and not word.startswith(_KEPT)):
        return key_of(word) == RUN_FOLDER
    if TARGET in re.sub(r"""[\\'"]""", "", word):
        group = key.partition(".")[0].lstrip("+")
        return key.lstrip("+") == f"{group}.{TARGET}" and known(group, value) is not None
    is_choice = "." not in key.partition("@")[0]
    return not (is_choice and ("/" in value or "\\" in value))


def _absolute(words: Sequence[str]) -> list[str]:
    first = Path(words[0])
    return [str(Given.cwd() / first) if len(first.parts) > 1 else words[0], *words[1:]]
