"""What a discard must leave as it is: weights, and all that an optimizer keeps of them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

Restore = Callable[[], None]
_DEEPEST = 4
"""Containers within containers that are looked into."""


class Held:
    """Weights and an optimizer's state of them, as they are now, to be put back.

    The optimizers of torch pass over a parameter without a gradient, and keep all state with their
    parameters. Others may move a parameter all the same, as Lookahead does, and its state with it;
    they may keep that state in ``state``, in attributes of their own, or in an optimizer inside.
    So this holds, for each parameter: itself, all that is kept under it as a key, its place in
    lists that run along the parameters; and the settings of groups that are held as a whole.

    Args:
        optimizer: The optimizer.
        parameters: What is held.

    Example:
        >>> weight = torch.nn.Parameter(torch.ones(1))
        >>> optimizer = torch.optim.SGD([weight], lr=1.0, momentum=0.9)
        >>> held = Held(optimizer, [weight])
        >>> weight.grad = torch.ones(1)
        >>> optimizer.step()
        >>> held.restore()
        >>> weight.data, dict(optimizer.state)
        (tensor([1.]), {})
    """

    def __init__(self, optimizer: Optimizer, parameters: Collection[Tensor]) -> None:
        held = {id(parameter): parameter for parameter in parameters}
        self._restores: list[Restore] = [_hold(parameter) for parameter in parameters]
        # The state of LBFGS is of all parameters together, kept with the first.
        if held and not isinstance(optimizer, torch.optim.LBFGS):
            for one in _optimizers(optimizer):
                self._restores += _hold_groups(one, held)
                self._restores += _find(vars(one), held, _rows(one), _DEEPEST, set())

    def restore(self) -> None:
        """Put everything back."""
        with torch.no_grad():
            for restore in self._restores:
                restore()


def _optimizers(optimizer: Optimizer) -> Iterator[Optimizer]:
    """Yield the optimizer and those inside it, each once."""
    seen: set[int] = set()
    ahead = [optimizer]
    while ahead:
        one = ahead.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        for value in list(vars(one).values()):
            several = value if isinstance(value, list | tuple) else [value]
            ahead += [other for other in several if _is_optimizer(other)]


def _is_optimizer(value: Any) -> bool:
    """Return whether it is one by what it has, as not all derive from torch's class."""
    return isinstance(getattr(value, "param_groups", None), list)


def _rows(optimizer: Optimizer) -> list[list[Tensor]]:
    """Return the orders of parameters that a list may run along: each group's, and all."""
    groups = [list(group["params"]) for group in optimizer.param_groups]
    return [*groups, [parameter for own in groups for parameter in own]]


def _hold_groups(optimizer: Optimizer, held: dict[int, Tensor]) -> Iterator[Restore]:
    """Hold the settings of groups that are held as a whole, as some count steps there.

    Not the learning rate: whoever sets it may do so while gradients are evaluated.
    """
    for group in optimizer.param_groups:
        own = [p for p in group["params"] if p.requires_grad]
        if own and all(id(p) in held for p in own):
            yield from (_hold_entry(group, name) for name in group.keys() - {"params", "lr"})
            yield _drop_others(group, set(group))


def _find(
    value: Any, held: dict[int, Tensor], rows: list[list[Tensor]], deepest: int, seen: set[int]
) -> Iterator[Restore]:
    """Find what is kept of the parameters in a container, and hold it."""
    if id(value) in seen or not deepest:
        return
    seen.add(id(value))
    if isinstance(value, dict):
        for key in list(value):
            if key == "param_groups":
                continue
            if id(key) in held or (type(key) is int and key in held):
                yield _hold_entry(value, key)
            else:
                yield from _find(value[key], held, rows, deepest - 1, seen)
        there = {id(key) for key in value} | {key for key in value if type(key) is int}
        absent = held.keys() - there
        if absent:
            yield lambda: _drop(value, absent)
    elif isinstance(value, list):
        row = next((row for row in rows if _runs_along(value, row)), None)
        if row is not None:
            yield from (_hold_entry(value, i) for i, p in enumerate(row) if id(p) in held)
        else:
            for one in value:
                yield from _find(one, held, rows, deepest - 1, seen)


def _runs_along(values: list[Any], row: list[Tensor]) -> bool:
    return len(values) == len(row) > 0 and all(
        isinstance(value, Tensor) and value.shape == p.shape and value is not p
        for value, p in zip(values, row, strict=True)
    )


def _drop(kept: dict[Any, Any], parameters: Collection[int]) -> None:
    """Forget what has been kept of parameters that nothing was kept of before."""
    for key in list(kept):  # a lookup would compare tensors with numbers
        if id(key) in parameters or (type(key) is int and key in parameters):
            del kept[key]


def _drop_others(kept: dict[str, Any], names: Collection[str]) -> Restore:
    def restore() -> None:
        for name in kept.keys() - names:
            del kept[name]

    return restore


def _hold_entry(container: Any, place: Any) -> Restore:
    """Hold one entry of a dictionary or a list: the object that it is, and what that holds."""
    value = container[place]
    inner = _hold(value)

    def restore() -> None:
        inner()
        container[place] = value

    return restore


def _hold(value: Any) -> Restore:
    if isinstance(value, Tensor):
        before = value.detach().clone()
        return lambda: _copy(value, before)
    if isinstance(value, dict):
        entries = [_hold_entry(value, key) for key in value]
        names = set(value)
        return lambda: _restore_all([*entries, _drop_others(value, names)])
    if isinstance(value, list):
        entries = [_hold(one) for one in value]
        objects = list(value)
        return lambda: _restore_all([*entries, lambda: value.__setitem__(slice(None), objects)])
    return lambda: None  # it cannot change, or is no state that anybody saves


def _copy(tensor: Tensor, before: Tensor) -> None:
    tensor.detach().copy_(before)


def _restore_all(restores: Collection[Restore]) -> None:
    for restore in restores:
        restore()
