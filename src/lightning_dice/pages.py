"""Files that are written in one piece, and pages that need nothing but themselves."""

from __future__ import annotations

import base64
import json
import os
import threading
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2


def fill(package: str, template: str, **values: Any) -> str:
    """A page as text.

    Args:
        package: Where the template, and those that it includes, are looked for.
        template: A file there, or its path from there.
        **values: What the template names; one that is not given is an error.
    """
    folder = files(package)
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: folder.joinpath(name).read_text("utf-8")),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(values)


def data_uri(png: bytes) -> str:
    """An image as an address that holds it.

    Example:
        >>> data_uri(b"png")
        'data:image/png;base64,cG5n'
    """
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def write_whole(path: Path, content: bytes) -> None:
    """Write in one piece: whoever reads meanwhile sees the old file or the new one."""
    draft = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.part")
    try:
        draft.unlink(missing_ok=True)  # a link there would be written through
        with draft.open("xb") as file:
            file.write(content)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write ``values`` as JSON, in one piece.

    Numbers that JSON has no word for (NaN, infinity) become ``null``.
    """
    write_whole(path, json_text(values).encode())


def json_text(values: Mapping[str, Any]) -> str:
    """Write ``values`` as JSON, with ``null`` for what it has no word for."""
    return json.dumps(_finite(values), indent=2, allow_nan=False) + "\n"


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not abs(value) < float("inf"):
        return None
    return value
