"""The folder of a run before training begins: which run is resumed, and what a start has made."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException
from typing_extensions import override

from lightning_dice.app.commands import near, resume_run
from lightning_dice.app.lock import holder
from lightning_dice.app.processes import started_by
from lightning_dice.app.recorded import resume_recorded
from lightning_dice.app.summary import NAME, flat_settings
from lightning_dice.app.sweeps.status import summary_of, written
from lightning_dice.app.twin import twin_of
from lightning_dice.rules import SettingError

_NOW = "${now:"


class Start(Callback):
    """Looks at the output folder before Hydra writes there.

    ``ckpt_path=last`` means the newest unfinished run of the same settings, where the output folder
    is named after the time. A start that trains nothing is taken back: the folders that it made go,
    and what Hydra's record of an earlier run held returns.
    """

    _made: ClassVar[list[Path]] = []
    _record: ClassVar[dict[Path, bytes | None]] = {}

    @override
    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        if config.get("ckpt_path") == "last" and started_by() is None:
            task = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
            run = next(_unfinished(task, config.hydra), None)
            if run is not None and run.status != "running":
                with read_write(config.hydra), open_dict(config.hydra):
                    config.hydra.run.dir = str(run.folder)
        folder = Path(config.hydra.run.dir).absolute()
        if holder(folder) is not None:  # it is refused later, and its record is not Hydra's to take
            with read_write(config.hydra), open_dict(config.hydra):
                config.hydra.output_subdir = None
        missing = [one for one in (folder, *folder.parents) if not one.exists()]
        type(self)._made = missing
        subfolder = config.hydra.output_subdir
        names = ("config.yaml", "hydra.yaml", "overrides.yaml")
        places = [] if subfolder is None else [folder / subfolder / name for name in names]
        type(self)._record = {place: _bytes(place) for place in places}

    @classmethod
    def take_back(cls) -> None:
        """Leave no trace of a start that trained nothing."""
        for place, before in cls._record.items():
            with suppress(OSError):
                if before is None:
                    place.unlink()
                else:
                    place.write_bytes(before)
        for folder in [*{place.parent for place in cls._record}, *cls._made]:
            with suppress(OSError):  # it holds something, or was never made
                folder.rmdir()


class Unfinished(NamedTuple):
    """A run that can be resumed.

    Attributes:
        folder: Its folder.
        status: Of its summary.
    """

    folder: Path
    status: str


def check_last(config: DictConfig, hydra: Any, folder: Path) -> None:
    """Refuse ``ckpt_path=last`` where the output folder holds no run to resume.

    Raises:
        SettingError: With the command that resumes the run that comes closest.
    """
    if config.ckpt_path != "last" or (folder / NAME).is_file():
        return
    root = _root(hydra)
    if root is None:
        remedy = f"there is no run in {near(folder)}; name the folder of one: hydra.run.dir=FOLDER"
        raise SettingError("ckpt_path", "last", remedy)
    same = next(_unfinished(config, hydra), None)
    if same is not None and same.status == "running":
        remedy = (
            f"{near(same.folder)} has these settings and counts as running; if it was killed, "
            f"resume it with: {resume_run(same.folder)}"
        )
    elif same is not None:
        remedy = f"resume the newest unfinished run with: {resume_run(same.folder)}"
    else:
        remedy = f"there is no unfinished run of these settings below {near(root)}"
        other = next((run for run in _runs(root) if _resumable(run)), None)
        command = None if other is None else resume_recorded(other)
        if command is not None:
            remedy = f"{remedy}; the newest one of others is resumed with: {command}"
    raise SettingError("ckpt_path", "last", remedy)


def _unfinished(config: DictConfig, hydra: Any) -> Iterator[Unfinished]:
    """Find the runs of these settings that have not finished, the newest first.

    Nothing is searched where the output folder is not named after the time, or holds a run.
    """
    root = _root(hydra)
    if root is None or (Path(hydra.run.dir) / NAME).is_file():
        return
    try:
        wanted = flat_settings(config)
    except (SettingError, OmegaConfBaseException):
        return  # whoever builds it says what is wrong
    for folder in _runs(root):
        summary = summary_of(folder)
        if _resumable(folder, twin=bool(config.get("twin"))) and summary.get("settings") == wanted:
            yield Unfinished(folder, str(summary.get("status")))


def _root(hydra: Any) -> Path | None:
    """Return the folder whose runs are named after the time; ``None`` where runs are not."""
    run: Any = OmegaConf.to_container(hydra.run, resolve=False)
    before, now, _ = str(run["dir"]).partition(_NOW)
    if not now or "${" in before:
        return None
    root = Path(before if before.endswith("/") else os.path.dirname(before) or ".")  # noqa: PTH120
    return root if root.is_dir() else None


def _runs(root: Path) -> list[Path]:
    """Return the folders of runs below ``root``, the newest first, without runs within runs."""
    found = []
    for folder, names, files in os.walk(root):
        if NAME in files:
            found.append(Path(folder))
            names.clear()
    return sorted(found, key=written, reverse=True)


def _resumable(folder: Path, twin: bool = False) -> bool:
    if summary_of(folder).get("status") in ("interrupted", "failed", "running"):
        return True
    return twin and summary_of(twin_of(folder)).get("status") != "finished"


def _bytes(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None
