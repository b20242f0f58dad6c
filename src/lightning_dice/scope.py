"""Which parameters one roll belongs to: scopes, their slots, and filters by name."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Literal

from torch import Tensor, nn
from torch.optim import Optimizer

from lightning_dice.rules import SettingError
from lightning_dice.rules.checking import listed_names

Scope = Literal["model", "param_group", "tensor"]

Slots = dict[int, list[Tensor]]
"""The parameters that are rolled for, by slot."""

# What wrappers put into the names of the parameters below them.
_WRAPPERS = re.compile(r"\b(_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")


Names = dict[Tensor, list[str]]
"""What parameters are called; one that is tied has a name in each of its places."""

NameSource = Callable[[], Mapping[Tensor, Sequence[str]]]
"""Gives the names as they are when it is called; parameters may join while training runs."""


def parameter_names(module: nn.Module) -> Names:
    """The names of a module's parameters, as they would be without compilation and sharding.

    Example:
        >>> net = nn.ModuleDict({"embed": nn.Embedding(3, 2), "head": nn.Linear(2, 3, bias=False)})
        >>> net["head"].weight = net["embed"].weight
        >>> list(parameter_names(net).values())
        [['embed.weight', 'head.weight']]
    """
    names: Names = {}
    for name, parameter in module.named_parameters(remove_duplicate=False):
        names.setdefault(parameter, []).append(_WRAPPERS.sub("", name))
    return names


def kept_names(optimizers: Sequence[Optimizer]) -> Names:
    """Return the names that optimizers keep, if they were made from named parameters.

    Example:
        >>> import torch
        >>> net = nn.Linear(2, 1)
        >>> list(kept_names([torch.optim.SGD(net.named_parameters())]).values())
        [['weight'], ['bias']]
    """
    groups = [group for optimizer in optimizers for group in optimizer.param_groups]
    return {
        parameter: [name]
        for group in groups
        for parameter, name in zip(group["params"], group.get("param_names", ()), strict=False)
    }


class NameFilter:
    """Chooses parameters by name: those that match ``include`` and do not match ``exclude``.

    Args:
        include: Patterns of the shell (``*``, ``?``, ``[...]``) for whole names; a name has to
            match one of them. ``None`` includes every name.
        exclude: Patterns of names to leave out, included or not. A parameter with several names
            is included, and left out, by any of them.

    Raises:
        SettingError: If either is not a list of patterns, or is an empty one.

    Example:
        >>> hidden = NameFilter(include=["blocks.*.weight"], exclude=["*norm*"])
        >>> hidden("blocks.3.mlp.weight"), hidden("blocks.3.norm.weight"), hidden("head.weight")
        (True, False, False)
    """

    def __init__(
        self, include: Sequence[str] | None = None, exclude: Sequence[str] | None = None
    ) -> None:
        self.include = _patterns("include", include)
        self.exclude = _patterns("exclude", exclude)

    @property
    def by_name(self) -> bool:
        """Whether names decide anything."""
        return self.include is not None or self.exclude is not None

    def __call__(self, *names: str) -> bool:
        """Whether a parameter with these names is chosen."""
        included = self.include is None or any(_matches(name, self.include) for name in names)
        return included and not any(_matches(name, self.exclude or []) for name in names)

    def check(self, parameters: Iterable[Sequence[str]]) -> None:
        """Refuse a pattern that is there for nothing, and a filter that leaves nothing.

        Args:
            parameters: The names of each parameter.

        Raises:
            SettingError: Naming the pattern and what there is to match.
        """
        parameters = list(parameters)
        names = [name for own in parameters for name in own]
        for setting, patterns in (("include", self.include), ("exclude", self.exclude)):
            for pattern in patterns or []:
                if not any(fnmatchcase(name, pattern) for name in names):
                    remedy = f"no parameter has such a name; there are {_some(names)}"
                    raise SettingError(setting, pattern, remedy)
        if names and not any(self(*own) for own in parameters):
            remedy = "it leaves no parameter to roll for; exclude less"
            raise SettingError("exclude", self.exclude, remedy)


def slots_of(
    optimizer: Optimizer,
    scope: Scope,
    names: Mapping[Tensor, Sequence[str]],
    chosen: NameFilter,
) -> Slots:
    """The parameters of ``optimizer`` that are rolled for, by slot.

    A slot keeps its number whatever the filter leaves out: with scope ``param_group`` it is the
    index of the group, with ``tensor`` the index of the parameter among all that the optimizer
    has, in order of its groups. Slots that are left without parameters are not there; a parameter
    that the optimizer has twice is in the first of its slots.

    Args:
        optimizer: The optimizer.
        scope: What one roll belongs to.
        names: Names of parameters. One that has none there is chosen by no ``include`` pattern.
        chosen: Which of them are rolled for.

    Example:
        >>> import torch
        >>> net = nn.Linear(2, 1)
        >>> optimizer = torch.optim.SGD(net.parameters())
        >>> slots = slots_of(optimizer, "tensor", parameter_names(net), NameFilter(["bias"]))
        >>> {slot: len(parameters) for slot, parameters in slots.items()}
        {1: 1}
    """
    slots: Slots = {}
    seen: set[Tensor] = set()
    index = 0
    for group_index, group in enumerate(optimizer.param_groups):
        for parameter in group["params"]:
            slot = {"model": 0, "param_group": group_index, "tensor": index}[scope]
            index += 1
            if parameter not in seen and chosen(*names.get(parameter, ())):
                seen.add(parameter)
                slots.setdefault(slot, []).append(parameter)
    return slots


class SlotTable:
    """The slots of one optimizer, found anew when its parameters have changed.

    Called without arguments it gives what ``slots_of`` gives. Where parameters are chosen by name,
    their names are asked for anew as well, so that those which join are chosen like all others; and
    with every call as long as some have no name, as a module may get them after its optimizer.

    Args:
        optimizer: The optimizer.
        scope: What one roll belongs to.
        names: Gives the names of parameters; or the names, where they never change.
        chosen: Which of them are rolled for.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        scope: Scope,
        names: NameSource | Mapping[Tensor, Sequence[str]],
        chosen: NameFilter,
    ) -> None:
        self.optimizer = optimizer
        self.scope = scope
        self.names: NameSource = names if callable(names) else lambda: names
        self.chosen = chosen
        self._found_in: list[list[int]] = []
        self._held: list[Tensor] = []  # as long as they are, nothing else has their ids
        self._nameless = False
        self._slots: Slots = {}

    def __call__(self) -> Slots:
        """Return the parameters that are rolled for, by slot."""
        groups = self.optimizer.param_groups
        there = [list(map(id, group["params"])) for group in groups]
        if there != self._found_in or self._nameless:
            names = self.names() if self.chosen.by_name else {}
            self._found_in, self._held = there, [p for group in groups for p in group["params"]]
            self._nameless = self.chosen.by_name and any(p not in names for p in self._held)
            self._slots = slots_of(self.optimizer, self.scope, names, self.chosen)
        return self._slots


def _patterns(setting: str, patterns: Sequence[str] | None) -> list[str] | None:
    if patterns is None:
        return None
    listed = listed_names(setting, patterns, "expected a list of patterns, such as ['*.weight']")
    if not listed:
        raise SettingError(
            setting, patterns, "an empty list chooses nothing; expected None or more"
        )
    return listed


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _some(names: Sequence[str], count: int = 4) -> str:
    return ", ".join(names[:count]) + (f" and {len(names) - count} more" if names[count:] else "")
