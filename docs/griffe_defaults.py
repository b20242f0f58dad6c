"""Shows defaults as values: ``25`` for a constant ``STEPS``, and ``Tensor.backward`` in full."""

from __future__ import annotations

from typing import Any

import griffe


class Defaults(griffe.Extension):
    """Replaces the defaults that are names, of which a page shows the last part alone."""

    def on_package(self, *, pkg: griffe.Module, **_: Any) -> None:
        for function in _functions(pkg):
            for parameter in function.parameters:
                if isinstance(parameter.default, griffe.Expr):
                    parameter.default = _shown(parameter.default, function.module)


def _functions(parent: griffe.Module | griffe.Class) -> list[griffe.Function]:
    found: list[griffe.Function] = []
    for member in parent.members.values():
        if isinstance(member, griffe.Function):
            found.append(member)
        elif isinstance(member, griffe.Module | griffe.Class):
            found += _functions(member)
    return found


def _shown(default: griffe.Expr, module: griffe.Module) -> str | griffe.Expr:
    """Return the literal that ``default`` stands for, or what is written there."""
    text = str(default)
    constant = _constant(text, module) if isinstance(default, griffe.ExprName) else None
    if constant is not None:
        value = constant.value
        return _shown(value, constant.module) if isinstance(value, griffe.Expr) else str(value)
    return text if isinstance(default, griffe.ExprName | griffe.ExprAttribute) else default


def _constant(name: str, module: griffe.Module) -> griffe.Attribute | None:
    """Return this package's constant of that name, if ``module`` has or imports one."""
    found = module.members.get(name)
    if isinstance(found, griffe.Alias):
        try:
            found = found.final_target
        except griffe.AliasResolutionError:  # another package's
            return None
    return found if isinstance(found, griffe.Attribute) else None
