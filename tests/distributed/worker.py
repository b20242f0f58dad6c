"""A process group that trains case after case: ``worker.py FOLDER CASE [CASE ...]``.

Started by ``group.py``, and told what torchrun tells a rank but for its number. Starting costs more
than training a toy does, so that a group trains many cases, and its ranks are forks of a process
that has imported all they need. What a rank has at the end of a case is ``FOLDER/CASE.RANK.json``,
and what it says in ``FOLDER/rankRANK.log``.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from lightning.fabric.utilities import rank_zero
from lightning.pytorch import Callback
from lightning.pytorch.loggers import CSVLogger
from torch.distributed.tensor import DTensor

from distributed.cases import CASES, LOOPS
from distributed.loops import share
from distributed.messages import Messages
from support.toy import quiet_trainer


def leave(path: Path, parameters: Iterable[torch.Tensor], dice: Any, messages: list[int]) -> None:
    parameters = list(parameters)
    rolls = [] if dice is None else list(dice.rolls.recent)
    left = {
        "weights": [whole(p) for p in parameters],
        "empty": sum(local(p).numel() == 0 for p in parameters),
        "rolls": [(r.batch, r.optimizer, r.slot, r.natural) for r in rolls],
        "left_out": getattr(dice, "left_out", 0),
        "messages": messages,
    }
    path.write_text(json.dumps(left))


class Leave(Callback):
    """Before the strategy is torn down: afterwards the module is no longer the replica."""

    def __init__(self, path: Path, dice, messages: Messages) -> None:
        self.path, self.dice, self.messages = path, dice, messages

    def on_train_end(self, trainer, pl_module):
        leave(self.path, pl_module.parameters(), self.dice, self.messages.counts)


class Save(Callback):
    """While it trains: what Lightning saves after ``fit`` does not go on where it ended."""

    def __init__(self, step: int, path: Path) -> None:
        self.step, self.path = step, path

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if trainer.global_step == self.step:
            trainer.save_checkpoint(self.path)


def local(parameter: torch.Tensor) -> torch.Tensor:
    return parameter.to_local() if isinstance(parameter, DTensor) else parameter.data


def whole(parameter: torch.Tensor) -> list:
    if hasattr(parameter, "ds_id"):  # DeepSpeed's third stage has it in parts
        import deepspeed

        with deepspeed.zero.GatheredParameters([parameter]):
            return parameter.detach().double().flatten().tolist()
    full = parameter.full_tensor() if isinstance(parameter, DTensor) else parameter
    return full.detach().double().flatten().tolist()


def train(name: str, folder: Path) -> None:
    case, rank, world_size = CASES[name], int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    for part in case.parts(folder / name):
        torch.manual_seed(0)
        dice, messages = case.dice(rank), Messages()
        leaves = Leave(folder / f"{name}.{rank}.json", dice, messages)
        save = [] if part.saves is None else [Save(part.max_steps, part.saves)]
        trainer = quiet_trainer(
            [*([] if dice is None else [dice]), messages, leaves, *save],
            max_steps=part.max_steps,
            devices=world_size,
            strategy=case.strategy(),
            use_distributed_sampler=False,
            logger=CSVLogger(folder, name=name, version=""),
            **case.trainer,
        )
        trainer.fit(case.model(), case.loader(rank, world_size), ckpt_path=part.resumes)


def loop(name: str, folder: Path) -> None:
    rank, world_size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    train, settings = LOOPS[name]
    trained = train(settings, share(rank, world_size), folder / name)
    leave(folder / f"{name}.{rank}.json", trained.parameters, trained.dice, trained.messages)


def main() -> None:
    ranks = [start(rank) for rank in range(int(os.environ["WORLD_SIZE"]))]
    codes = [os.waitstatus_to_exitcode(os.waitpid(rank, 0)[1]) for rank in ranks]
    sys.exit(0 if not any(codes) else f"the ranks ended with {codes}")


def start(rank: int) -> int:
    """A process that trains every case as ``rank``; its number."""
    if number := os.fork():
        return number
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank))
    rank_zero.rank_zero_only.rank = rank  # as where Lightning is imported
    log = os.open(Path(sys.argv[1], f"rank{rank}.log"), os.O_WRONLY | os.O_CREAT)
    os.dup2(log, 1)
    os.dup2(log, 2)
    code = 1
    try:
        train_all()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def train_all() -> None:
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    folder, names = Path(sys.argv[1]), sys.argv[2:]
    for name in names:
        try:
            (loop if name in LOOPS else train)(name, folder)
        except Exception as error:
            said = {"error": f"{type(error).__name__}: {error}", "trace": traceback.format_exc()}
            (folder / f"{name}.{os.environ['RANK']}.json").write_text(json.dumps(said))
        if dist.is_initialized():
            dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
