"""Data for runs that come to nothing."""

import os
import signal
from pathlib import Path

from lightning_dice.app.data.digits import Digits


class RaisesInTraining(Digits):
    """Fails for seed 1, once training asks for examples."""

    def train_dataloader(self):
        if os.environ["PL_GLOBAL_SEED"] == "1":
            raise ArithmeticError("a cosmic ray")
        return super().train_dataloader()


class KillsItsProcess(Digits):
    """Ends its process by SIGKILL for seed 1, as often as the file named by KILLS says."""

    def train_dataloader(self):
        left = Path(os.environ["KILLS"])
        if os.environ["PL_GLOBAL_SEED"] == "1" and int(left.read_text()):
            left.write_text(str(int(left.read_text()) - 1))
            os.kill(os.getpid(), signal.SIGKILL)
        return super().train_dataloader()


STOP: int | None = 4


class StopsAtStep4(Digits):
    """Fails once four mini-batches have been given out, unless ``STOP`` says otherwise."""

    def train_dataloader(self):
        for given, batch in enumerate(super().train_dataloader()):
            if given == STOP:
                raise ArithmeticError("a cosmic ray")
            yield batch
