"""A user's own program, whose processes Lightning starts: ``script.py FOLDER STRATEGY``."""

import json
import sys
import warnings
from pathlib import Path

from lightning.pytorch import Callback
from lightning.pytorch.loggers import CSVLogger

from lightning_dice import SavingThrow, SavingThrowCallback
from support.toy import Toy, adamw, fit


class Leave(Callback):
    def __init__(self, folder):
        self.folder = folder

    def on_train_end(self, trainer, pl_module):
        weights = [p.tolist() for p in pl_module.parameters()]
        (self.folder / f"{trainer.global_rank}.json").write_text(json.dumps(weights))


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    folder, strategy = Path(sys.argv[1]), sys.argv[2]
    dice = SavingThrowCallback(SavingThrow("d4", 2, [None, 0.5, -0.25, 1.0]), seed=None)
    logger = CSVLogger(folder, name="", version="")
    fit(Toy(adamw), [dice, Leave(folder)], devices=2, strategy=strategy, logger=logger)
