"""Shows the examples in docstrings as code: Griffe knows the section "Examples:" alone."""

from __future__ import annotations

import re
from textwrap import indent
from typing import Any

import griffe

HEADING = re.compile(r"^Example:$", re.MULTILINE)
BARE = re.compile(r"^>>> (?:.+\n?)+", re.MULTILINE)


class Examples(griffe.Extension):
    """Gives every example in a docstring the heading that Griffe knows."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring is not None:
            text = HEADING.sub("Examples:", obj.docstring.value)
            obj.docstring.value = BARE.sub(lambda m: f"Examples:\n{indent(m[0], '    ')}", text)
