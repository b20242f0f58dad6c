"""Whether every rank takes part, asked without a message that somebody might never answer.

A collective message waits until all ranks have sent theirs, which takes half an hour where one
never does. The store by which the process group was made keeps no one waiting for longer than they
want to.
"""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

import torch.distributed as dist
from torch.distributed import distributed_c10d

from lightning_dice.rules import SettingError

_ALL = "all"
_PAUSE = 0.02
_calls: Counter[str] = Counter()


def absent(purpose: str, processes: int, seconds: float) -> list[int]:
    """Return the ranks that do not ask the same within some seconds; empty if all of them do.

    All ranks that ask get the same answer: that of the first one that has waited long enough, or of
    the last one to come.

    Args:
        purpose: What is asked for. Asked again for the same purpose, it is another question.
        processes: How many ranks train together. A process group may be left from another training.
        seconds: How long to wait for the last one.
    """
    store = _store() if processes > 1 else None
    if store is None:
        return []
    _calls[purpose] += 1
    name = f"lightning_dice/{purpose}/{_calls[purpose]}"
    ranks = range(dist.get_world_size())
    store.set(f"{name}/{dist.get_rank()}", "here")
    if store.add(f"{name}/count", 1) == len(ranks):
        store.compare_set(name, "", _ALL)
    # Not the store's own way to wait, which prints of every end that is no answer.
    end = time.monotonic() + seconds
    while not store.check([name]) and time.monotonic() < end:
        time.sleep(_PAUSE)
    if not store.check([name]):
        missing = [rank for rank in ranks if not store.check([f"{name}/{rank}"])]
        store.compare_set(name, "", " ".join(map(str, missing)) or _ALL)
    answer = store.get(name).decode()
    return [] if answer == _ALL else [int(rank) for rank in answer.split()]


def check_present(
    setting: str, what: str, purpose: str, processes: int, seconds: float = 20
) -> None:
    """Refuse to train where some ranks have no dice.

    Args:
        setting: Where all ranks must be given them.
        what: What they must be given.
        purpose: As in ``absent``, as are the following.
        processes: How many ranks train together.
        seconds: How long to wait for the last one.

    Raises:
        SettingError: Naming the ranks that lack it.
    """
    missing = absent(purpose, processes, seconds)
    if missing:
        shown = ", ".join(map(str, missing[:8])) + (", ..." if len(missing) > 8 else "")
        ranks = f"rank {shown} has" if len(missing) == 1 else f"ranks {shown} have"
        remedy = (
            f"{ranks} none, and the replicas of {processes} processes would diverge; "
            "give every rank the same"
        )
        raise SettingError(setting, what, remedy)


def _store() -> Any:
    """Return the store of the process group; ``None`` where there is none, as under MPI."""
    if not (dist.is_available() and dist.is_initialized()):
        return None
    return distributed_c10d._get_default_store()
