"""Reads YAML that may have come from somebody else: plain values, and not too many."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from lightning_dice.foreign import SETTINGS, Unreadable, read_text
from lightning_dice.plain_data import DEPTH, DIGITS, TOO_DEEP

NODES = 20_000
"""Most values in a YAML file."""
_TAGS = {f"tag:yaml.org,2002:{kind}" for kind in ("null", "bool", "int", "float", "str")}
_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")


def read_yaml(path: Path, most: int = SETTINGS, root: Path | None = None) -> Any:
    """Read a YAML file of plain values: no aliases, and no tags that name a class.

    Args:
        path: The file.
        most: Most bytes that it may have.
        root: The folder that it must lie in; its parent by default.

    Raises:
        FileNotFoundError: If there is none.
        Unreadable: If it cannot be read.
    """
    loader = _Loader(_printable(read_text(path, most, root)))
    try:
        node = loader.get_single_node()
        return None if node is None else loader.value(node)
    except Unreadable:
        raise
    except yaml.MarkedYAMLError as error:
        line = "" if error.problem_mark is None else f"line {error.problem_mark.line + 1}: "
        raise Unreadable(f"is no YAML ({line}{error.problem})") from error
    except (yaml.YAMLError, ValueError, LookupError) as error:
        raise Unreadable(f"is no YAML ({type(error).__name__})") from error
    except RecursionError as error:
        raise Unreadable(TOO_DEEP) from error
    finally:
        loader.dispose()


def _printable(text: str) -> str:
    """Return a text without the characters that YAML refuses, which could be in any string."""
    clean: str = yaml.reader.Reader.NON_PRINTABLE.sub("\N{REPLACEMENT CHARACTER}", text)
    return clean


class _Loader(yaml.SafeLoader):  # type: ignore[misc]
    """Composes nodes as long as they are few, and makes plain values of them."""

    # What OmegaConf writes has no dates: a text that looks like one is a text.
    yaml_implicit_resolvers = {  # noqa: RUF012 - PyYAML's own way
        first: [pair for pair in pairs if pair[0] in _TAGS]
        for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = self._nodes = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise Unreadable("has an alias, and plain settings have none")
        self._nodes += 1
        self._depth += 1
        if self._nodes > NODES:
            raise Unreadable(f"holds more than {NODES} values")
        if self._depth > DEPTH:
            raise Unreadable(TOO_DEEP)
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def value(self, node: Any) -> Any:
        """Make a plain value of a node."""
        if isinstance(node, yaml.SequenceNode) and node.tag.endswith(":seq"):
            return [self.value(item) for item in node.value]
        if isinstance(node, yaml.MappingNode) and node.tag.endswith(":map"):
            made: dict[Hashable, Any] = {}
            for key_node, item in node.value:
                key = self._scalar(key_node)
                if key in made:
                    raise Unreadable(f"has the key {key!r} twice")
                made[key] = self.value(item)
            return made
        return self._scalar(node)

    def _scalar(self, node: Any) -> Any:
        if not isinstance(node, yaml.ScalarNode) or node.tag not in _TAGS:
            raise Unreadable(f"holds {str(node.tag)[:60]!r}, which is no plain value")
        if node.tag in _NUMBERS and len(node.value) > DIGITS:
            raise Unreadable(f"holds a number of {len(node.value)} characters")
        return self.construct_object(node)
