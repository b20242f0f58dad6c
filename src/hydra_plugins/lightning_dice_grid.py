"""The sweeper ``grid``, where Hydra finds it.

Every Hydra application on the machine imports this file when it starts, so nothing is loaded before
a sweep needs it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class GridSweeper(Sweeper):
    """Trains every combination of what is swept: see ``lightning_dice.app.sweeps.grid``.

    Args:
        params: What is swept unless the command line says otherwise, as ``key: values``.
        max_batch_size: Jobs that the launcher is given at a time.
    """

    def __init__(self, params: Mapping[str, Any], max_batch_size: int) -> None:
        self._params = dict(params)
        self._max_batch_size = max_batch_size

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Remember what Hydra gives."""
        from hydra.core.plugins import Plugins

        self.config = config
        self.hydra_context = hydra_context
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> None:
        """Train what ``arguments``, and the parameters, describe."""
        from lightning_dice.app.sweeps.grid import Grid

        assert self.config is not None, "Hydra sets a sweeper up before it sweeps"
        assert self.hydra_context is not None
        assert self.launcher is not None
        loader = self.hydra_context.config_loader
        Grid(self.config, loader, self.launcher, self._max_batch_size).sweep(
            [*(f"{key}={value}" for key, value in self._params.items()), *arguments],
            named=self._params,
        )
