"""The way back from a training in other processes to the callback that it was started with.

``ddp_spawn`` and ``ddp_notebook`` train copies of the Trainer and its callbacks. What comes back to
the process that started them is little: weights, metrics and the Trainer's state. That state
carries a parcel along, which is opened where it is unpickled.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any, Protocol
from weakref import WeakValueDictionary

from lightning.pytorch import Trainer

from lightning_dice.trainer_state import lightning_class


class Receiver(Protocol):
    """What may wait for a parcel."""

    def receive(self, state: Mapping[str, Any]) -> None:
        """Take over what a copy in another process has come to."""


_receivers: WeakValueDictionary[str, Receiver] = WeakValueDictionary()


class Address:
    """Name of one object and of its copies in other processes; a deep copy has another one.

    Args:
        receiver: The object.
    """

    def __init__(self, receiver: Receiver) -> None:
        self.name = secrets.token_hex(8)
        _receivers[self.name] = receiver

    def __getstate__(self) -> str:
        return self.name

    def __setstate__(self, name: str) -> None:
        self.name = name


class _Parcel:
    """A state on its way, delivered wherever it is unpickled."""

    def __init__(self, name: str, state: Mapping[str, Any]) -> None:
        self.name = name
        self.state = state

    def __deepcopy__(self, memo: object) -> _Parcel:
        return self  # Lightning copies the Trainer's state on its way out

    def __reduce__(self) -> tuple[Any, ...]:
        return _deliver, (self.name, self.state)


def _deliver(name: str, state: Mapping[str, Any]) -> None:
    receiver = _receivers.get(name)
    if receiver is not None:
        receiver.receive(state)


def send(trainer: Trainer, address: Address, state: Mapping[str, Any]) -> None:
    """Send ``state`` to the process that started this one for ``trainer``, if another one did.

    Args:
        trainer: The Trainer, whose training ends.
        address: Of the receiver.
        state: Plain values.
    """
    launcher = getattr(trainer.strategy, "launcher", None)
    if lightning_class(launcher, "_MultiProcessingLauncher") is not None:
        setattr(trainer.state, f"dice_{address.name}", _Parcel(address.name, state))
