"""The sweeper ``grid``, where Hydra finds it.

Every Hydra application on the machine imports this file when it starts, so nothing is loaded before
a sweep needs it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf


class GridSweeper(Sweeper):
    """Trains every combination of what is swept: see ``lightning_dice.app.sweeps.grid``.

    Args:
        params: Default sweep, as ``key: values``: text as on the command line, or a list.
        max_batch_size: Jobs that the launcher is given at a time.
    """

    def __init__(self, params: Mapping[str, Any], max_batch_size: int) -> None:
        plain = OmegaConf.to_container(OmegaConf.create(dict(params)))
        self._params = {str(key): value for key, value in plain.items()}  # type: ignore[union-attr]
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
        from lightning_dice.app.schema import config_folder
        from lightning_dice.app.shorthand import expand_params
        from lightning_dice.app.sweeps.grid import Grid

        assert self.config is not None, "Hydra sets a sweeper up before it sweeps"
        assert self.hydra_context is not None
        assert self.launcher is not None
        loader = self.hydra_context.config_loader
        params = expand_params(self._params, config_folder())
        Grid(self.config, loader, self.launcher, self._max_batch_size).sweep(
            [*(f"{key}={value}" for key, value in params.items()), *arguments],
            named=params,
        )
