"""The app's configuration, composed once for each choice of overrides."""

import functools

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

from lightning_dice.app.schema import config_folder, register


@functools.cache
def compose_train(*overrides):
    register()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        return compose("train", list(overrides))
