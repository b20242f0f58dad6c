"""Trains the toy model on as many gloo processes as argv says; each rank leaves what it has.

Run as ``python ddp_script.py FOLDER PROCESSES GRANULARITY ACCUMULATE [unused|apart|tensors]``: with
a parameter that no loss reaches, with a seed that differs by rank, or with updates of tensors.
"""

import json
import os
import sys
from pathlib import Path

import torch
from lightning.pytorch import Callback
from lightning.pytorch.loggers import CSVLogger

from lightning_dice import SavingThrow, SavingThrowCallback
from support.toy import Toy, adamw, fit


class Leave(Callback):
    """Before the strategy is torn down: afterwards the module is no longer the replica."""

    def __init__(self, folder, callback):
        self.folder, self.callback = folder, callback

    def on_train_end(self, trainer, pl_module):
        left = {
            "weights": [p.tolist() for p in pl_module.parameters()],
            "rolls": [record.natural for record in self.callback.rolls.recent],
        }
        (self.folder / f"rank{trainer.global_rank}.json").write_text(json.dumps(left))


def main() -> None:
    folder, processes = Path(sys.argv[1]), int(sys.argv[2])
    throw = SavingThrow("d4", 2, [None, 0.5, -0.25, 1.0])
    mode = sys.argv[5] if len(sys.argv) > 5 else ""
    seed = 6 + (int(os.environ.get("LOCAL_RANK", 0)) if mode == "apart" else 0)
    tensors = {"target": "update", "scope": "tensor"} if mode == "tensors" else {}
    callback = SavingThrowCallback(throw, granularity=sys.argv[3], seed=seed, **tensors)
    model = Toy(adamw)
    if mode == "unused":
        model.unused = torch.nn.Parameter(torch.ones(2))
    strategy = "ddp_find_unused_parameters_true" if mode == "unused" else "ddp"
    fit(
        model,
        [callback, Leave(folder, callback)],
        max_steps=12,
        devices=processes,
        strategy=strategy if processes > 1 else "auto",
        accumulate_grad_batches=int(sys.argv[4]),
        logger=CSVLogger(folder, name="", version=""),
    )


if __name__ == "__main__":
    main()
