"""The dice's settings among the hyper-parameters that loggers are given."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from lightning_dice.intercept import intercept


class LoggedSettings:
    """Adds settings to the hyper-parameters that loggers are given, whoever gives them.

    A logger may keep the first set of hyper-parameters alone, as TensorBoard does, or refuse a
    second one. So settings join the module's own where there are any, and are logged by themselves
    only at a logger that was given none.

    Args:
        loggers: The loggers of a training that begins.
        name: The name that the settings are logged under.
        otherwise: Their name where the module has a hyper-parameter called ``name`` itself.
        settings: Plain values.
    """

    def __init__(
        self, loggers: Iterable[Any], name: str, otherwise: str, settings: Mapping[str, Any]
    ) -> None:
        self._name = name
        self._otherwise = otherwise
        self._settings = dict(settings)
        self._waiting = list(loggers)
        self._undo = [
            intercept(logger, "log_hyperparams", partial(self._join, logger))
            for logger in self._waiting
        ]

    def finish(self) -> None:
        """Log the settings where nobody has logged any, and leave the loggers as they were."""
        self.remove()
        for logger in self._waiting:
            logger.log_hyperparams({self._name: self._settings})
        self._waiting = []

    def remove(self) -> None:
        """Leave the loggers as they were."""
        while self._undo:
            self._undo.pop()()

    def _join(
        self,
        logger: Any,
        inner: Callable[..., Any],
        params: Any = None,
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        given = vars(params) if isinstance(params, Namespace) else params
        if type(given) is not dict and given is not None:
            return inner(params, *args, **kwargs)  # a configuration, which may not take more keys
        self._waiting = [other for other in self._waiting if other is not logger]
        given = given or {}
        name = self._otherwise if self._name in given else self._name
        return inner({name: self._settings, **given}, *args, **kwargs)
