"""Whether training may go on from a checkpoint: by the same saving throw, or a change by name."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from lightning_dice.rules import SettingError
from lightning_dice.rules.checking import listed_names
from lightning_dice.rules.errors import shown, tried
from lightning_dice.states import entries


def check_changes(changes: Sequence[str], settings: Collection[str]) -> tuple[str, ...]:
    """``changes`` if all of them are names of settings.

    Example:
        >>> check_changes(["threshold"], {"threshold": 10, "target": "update"})
        ('threshold',)
    """
    allowed = f"expected names of settings: {', '.join(settings)}"
    named = listed_names("changes", [changes] if isinstance(changes, str) else changes, allowed)
    for name in named:
        if name not in settings:
            raise SettingError("changes", name, allowed)
    return tuple(named)


def differences(mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[str]:
    """The settings that differ; a seed of ``None`` agrees with any.

    Example:
        >>> differences({"threshold": 15, "seed": None}, {"threshold": 10, "seed": 3})
        ['threshold']
    """
    return [
        key
        for key, value in mine.items()
        if not _same(value, theirs.get(key)) and not (key == "seed" and value is None)
    ]


def _same(mine: object, theirs: object) -> bool:
    # A damaged checkpoint may hold a tensor, which compares its elements one by one.
    return tried(lambda value: bool(mine == value), theirs) is True


def check_resume(
    mine: Mapping[str, Any], theirs: Mapping[str, Any], changes: Sequence[str] = ()
) -> list[str]:
    """Refuse to go on from the checkpoint of another saving throw, unless by name.

    Args:
        mine: The settings of this run.
        theirs: Those in the checkpoint.
        changes: Names of settings that may differ.

    Returns:
        The settings that differ.

    Raises:
        SettingError: Naming every setting that differs and may not.
    """
    differ = differences(mine, theirs)
    wrong = [key for key in differ if key not in changes]
    if wrong:
        trained = ", ".join(f"{key}={shown(theirs.get(key))}" for key in wrong)
        raise SettingError(
            wrong[0],
            mine[wrong[0]],
            f"the checkpoint was trained with {trained}; resume with the same saving throw, start "
            f"without the checkpoint, or ask for the change by name: changes={wrong}",
        )
    return differ


def find_state(
    mine: Mapping[str, Any],
    states: Mapping[Any, Any],
    key: str,
    keys: Collection[str],
    changes: Sequence[str] = (),
) -> Mapping[str, Any] | None:
    """The state that a saving throw goes on from where the checkpoint has none of its own.

    Lightning finds the states of callbacks by their key, which holds their settings, so that it
    would not notice one of another saving throw.

    Args:
        mine: The settings of this saving throw.
        states: The checkpoint's ``callbacks``: states by key.
        key: The key of this saving throw; up to its brace it says what it is.
        keys: Those of all saving throws in this training.
        changes: Names of settings that may differ.

    Returns:
        The state of the saving throw that differs in no more than ``changes``; ``None`` if the
        checkpoint has a state under ``key``, or none that is left over.

    Raises:
        SettingError: If only states are left over that differ in more.
    """
    kind = key.partition("{")[0]
    # Other callbacks may have keys of any type.
    named = {name: state for name, state in states.items() if isinstance(name, str)}
    rolled = {name: state for name, state in named.items() if name.partition("{")[0] == kind}
    left: list[Mapping[str, Any]] = [state for name, state in rolled.items() if name not in keys]
    if key in rolled or not left:
        return None
    for state in left:
        if set(differences(mine, _settings(state))) <= set(changes):
            return state
    check_resume(mine, _settings(left[0]), changes)
    return None  # not reached: the first of them differs too


def _settings(state: object) -> Mapping[str, Any]:
    return entries(entries(state, "settings")["settings"], where="state.settings")
