"""Modules of JavaScript as one script, so that a page needs nothing beside it."""

from __future__ import annotations

import re
from importlib.resources.abc import Traversable

_IMPORT = re.compile(r'^import \{[^}]*\} from "\./(?P<module>[\w.]+)";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async )?(?:function|class|const)\b)", re.MULTILINE)


def bundle(folder: Traversable, entry: str) -> str:
    """``entry`` with all that it imports in front of it, each module once.

    The modules share one scope, so that their names at top level have to differ; a browser refuses
    the script where two do not.

    Args:
        folder: Where the modules lie; they import each other as ``import { a } from "./b.js";``
            and export declarations.
        entry: The module that starts the page.
    """
    ordered: dict[str, str] = {}
    _add(folder, entry, ordered)
    return "\n".join(ordered.values())


def _add(folder: Traversable, module: str, ordered: dict[str, str]) -> None:
    if module in ordered:
        return
    source = folder.joinpath(module).read_text(encoding="utf-8")
    for found in _IMPORT.finditer(source):
        _add(folder, found["module"], ordered)
    ordered[module] = _EXPORT.sub("", _IMPORT.sub("", source)).strip() + "\n"
