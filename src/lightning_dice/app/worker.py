"""One rank of a job, as ``processes`` starts it: ``-m lightning_dice.app.worker JOB PARENT``."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import torch.multiprocessing

from lightning_dice.app.console import message_of, quieten, says_it_all
from lightning_dice.app.processes import Job, record_failure, stopped
from lightning_dice.app.streams import lasting_streams
from lightning_dice.app.train import train_rank


def main() -> None:
    """Train the job of ``argv``; what ends it is left beside the job."""
    with lasting_streams():
        _main()


def _main() -> None:
    path, parent, rank = Path(sys.argv[1]), int(sys.argv[2]), int(os.environ["RANK"])
    _end_with(parent)
    quieten()
    try:
        train_rank(Job.read(path))
    except (SystemExit, KeyboardInterrupt) as error:
        signalled = stopped(error)
        if signalled is None:
            raise
        record_failure(path, rank, signalled.message, signalled.number)
        raise signalled from None
    except Exception as error:
        if says_it_all(error):
            record_failure(path, rank, message_of(error))
            sys.exit(1)
        record_failure(path, rank, f"rank {rank}: {type(error).__name__}: {error}")
        raise


def _end_with(parent: int) -> None:
    """End when ``parent`` does: where that is killed, it cannot end this process any more."""
    ask = getattr(torch.multiprocessing, "_prctl_pr_set_pdeathsig", None)
    if ask is not None and sys.platform == "linux":
        ask(signal.SIGKILL)
        if os.getppid() != parent:  # it was killed before this process had asked
            sys.exit(1)


if __name__ == "__main__":
    main()
