"""Whatever cannot be built is one clear error that names the setting."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hydra.errors import InstantiationException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import InterpolationResolutionError

from lightning_dice.rules import SettingError


@contextmanager
def refused(setting: str, node: Any) -> Iterator[None]:
    """Turn whatever a constructor raises into an error that names the setting."""
    try:
        yield
    except SettingError:
        raise
    except Exception as error:
        cause = _cause(error)
        if isinstance(cause, SettingError):
            raise cause from error
        given = plain(node) if isinstance(node, DictConfig) else node
        value = {key: item for key, item in given.items() if item is not None}
        raise SettingError(setting, value, " ".join(str(cause).split())) from cause


def _cause(error: BaseException) -> BaseException:
    """What a constructor or a resolver raised, before Hydra or OmegaConf wrapped it."""
    if isinstance(error, InstantiationException):
        return error.__cause__ or error
    inner: BaseException | None = error
    while isinstance(inner, InterpolationResolutionError):
        inner = inner.__context__
    return inner if isinstance(inner, SettingError) else error


def plain(node: DictConfig) -> dict[str, Any]:
    """A node's resolved values by key."""
    values = OmegaConf.to_container(node, resolve=True)
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items()}
