"""What a run that goes on from a checkpoint may have otherwise, and what it was trained with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lightning.pytorch import Callback
from typing_extensions import override

from lightning_dice.rules import SettingError

LENGTH = ("trainer.max_steps", "trainer.max_epochs", "trainer.max_time")
"""How long a run trains: it may always be trained further."""
FREE = (
    *LENGTH,
    # When something is measured or written down.
    "trainer.val_check_interval",
    "trainer.check_val_every_n_epoch",
    "trainer.limit_val_batches",
    "trainer.num_sanity_val_steps",
    "trainer.log_every_n_steps",
    "metric.name",
    "metric.unit",
    "metric.mode",
    # Where it is computed.
    "trainer.accelerator",
    "trainer.devices",
    "trainer.num_nodes",
    "trainer.strategy",
    "trainer.deterministic",
    "trainer.benchmark",
    "trainer.detect_anomaly",
    "dice.skip_discarded",
)
"""Settings that may differ from those of the checkpoint without being asked for."""
FIXED = ("control", "model._target_", "data._target_", "optimizer._target_")
"""Settings that may not differ at all: what was trained until now is of no use to another."""
_DICE = ("saving_throw.", "dice.")
"""Settings that the saving throw itself compares, as it does in any Trainer."""

Settings = Mapping[str, Any]


class Trained(Callback):
    """Keeps with a checkpoint the settings that it was trained with, and those that were changed.

    Args:
        settings: Of this run, by dotted keys.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = dict(settings)
        self.changes: list[dict[str, Any]] = []

    @override
    def state_dict(self) -> dict[str, Any]:
        return {"settings": self.settings, "changes": self.changes}

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Nothing: ``note_changes`` has read it before anything was written."""

    def note_changes(self, state: Mapping[str, Any], step: int, differ: Sequence[str]) -> None:
        """Note what was changed up to now.

        Args:
            state: What the checkpoint has of this callback.
            step: The optimizer step that training goes on with.
            differ: The settings that differ from those of the checkpoint.
        """
        then = state["settings"]
        self.changes = [
            *state["changes"],
            *(
                {"step": step, "setting": key, "from": then.get(key), "to": self.settings.get(key)}
                for key in differ
            ),
        ]


def check_fixed(mine: Settings, theirs: Settings) -> None:
    """Refuse another model, data, optimizer or control than those of the checkpoint.

    Raises:
        SettingError: Naming the first that differs, then and now.
    """
    for key in FIXED:
        if key in theirs and theirs[key] != mine.get(key):
            remedy = (
                f"the checkpoint was trained with {key}={theirs[key]!r}, and cannot go on with "
                "another; start a new run in another folder, without ckpt_path"
            )
            raise SettingError(key, mine.get(key), remedy)


def check_settings(mine: Settings, theirs: Settings, changes: Sequence[str] = ()) -> list[str]:
    """Refuse to go on with other settings than those of the checkpoint, unless by name.

    Args:
        mine: The settings of this run, by dotted keys.
        theirs: Those that the checkpoint was trained with.
        changes: Settings that may differ: their keys, or what these begin with.

    Returns:
        The settings that differ.

    Raises:
        SettingError: Naming every setting that differs and may not, then and now.

    Example:
        >>> check_settings({"data.rows": 5, "seed": 0}, {"data.rows": 9, "seed": 0}, ["data"])
        ['data.rows']
    """
    check_fixed(mine, theirs)
    keys = [key for key in {**theirs, **mine} if key not in FREE and not key.startswith(_DICE)]
    differ = [key for key in keys if theirs.get(key) != mine.get(key)]
    wrong = [key for key in differ if not _asked(key, changes)]
    if wrong:
        trained = ", ".join(f"{key}={theirs.get(key)!r}" for key in wrong)
        also = "".join(f", {key}={mine.get(key)!r}" for key in wrong[1:])
        now = f" (now {wrong[0]}={mine.get(wrong[0])!r}{also})" if also else ""
        remedy = (
            f"the checkpoint was trained with {trained}{now}; resume with the same settings, start "
            "a new run in another folder without ckpt_path, or ask for the change by name: "
            f"'changes=[{','.join(dict.fromkeys([*changes, *wrong]))}]'"
        )
        raise SettingError(wrong[0], mine.get(wrong[0]), remedy)
    return differ


def check_names(changes: Sequence[str], mine: Settings, dice: Sequence[str]) -> None:
    """Refuse names in ``changes`` that no setting has.

    Args:
        changes: What was given.
        mine: The settings of this run, by dotted keys.
        dice: The names of the settings of dice.

    Raises:
        SettingError: Naming the first.
    """
    for name in changes:
        if name not in dice and not any(_asked(key, [name]) for key in mine):
            remedy = "expected names of settings, such as optimizer.lr; --cfg job shows them all"
            raise SettingError("changes", name, remedy)


def dice_changes(changes: Sequence[str], dice: Sequence[str]) -> list[str]:
    """Return the names in ``changes`` that are settings of dice, as these call them.

    Example:
        >>> dice_changes(["saving_throw.threshold", "seed", "data"], ["threshold", "seed"])
        ['threshold', 'seed']
    """
    names = [name.removeprefix("saving_throw.").removeprefix("dice.") for name in changes]
    return [name for name in names if name in dice]


def is_over(mine: Settings, theirs: Settings, steps: int) -> bool:
    """Return whether a run that has finished has nothing left to train.

    Args:
        mine: The settings of this run, by dotted keys.
        theirs: Those that it finished with.
        steps: How many it has made.
    """
    if all(mine.get(key) == theirs.get(key) for key in LENGTH):
        return True
    most = mine.get("trainer.max_steps")
    return isinstance(most, int) and 0 <= most <= steps


def _asked(key: str, changes: Sequence[str]) -> bool:
    return any(key == name or key.startswith(f"{name}.") for name in changes)
