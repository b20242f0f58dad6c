"""The command that installs an extra of this package, from where the package itself came."""

from __future__ import annotations

import json
import shlex
import sys
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from packaging.requirements import Requirement

NAME = "lightning-dice"
CHECKOUT = Path(__file__).parents[2]
"""Where the project file is, if the package is imported from a checkout."""


def install_command(extra: str, *options: str) -> str:
    """Return the command that installs an extra, to be pasted into a terminal anywhere.

    The package is on no index, so that its name there could be anybody's: the command names the
    folder or the wheel that it was installed from. Where neither can be found any more, the
    command names the packages of the extra.

    Args:
        extra: The extra's name.
        *options: More options for pip.

    Example:
        >>> "install" in install_command("report")
        True
    """
    pip = [sys.executable, "-m", "pip", "install"]
    if find_spec("pip") is None:  # as in environments that uv has made
        pip = ["uv", "pip", "install", "--python", sys.executable]
    return shlex.join([*pip, *options, *_what(extra)])


def _what(extra: str) -> list[str]:
    try:
        installed = distribution(NAME)
    except PackageNotFoundError:
        return ["--editable", f"{CHECKOUT}[{extra}]"]
    origin = json.loads(installed.read_text("direct_url.json") or "{}")
    url = urlsplit(origin.get("url", ""))
    source = Path(url2pathname(url.path))
    if url.scheme != "file" or not source.exists():
        return _packages(installed, extra)
    editable = origin.get("dir_info", {}).get("editable", False)
    return [*(["--editable"] if editable else []), f"{source}[{extra}]"]


def _packages(installed: Distribution, extra: str) -> list[str]:
    """Return what the extra adds to what the package needs anyway."""
    found: list[str] = []
    for requirement in map(Requirement, installed.requires or ()):
        marker, requirement.marker = requirement.marker, None
        if marker is None or not marker.evaluate({"extra": extra}):
            continue
        if requirement.name == NAME:
            found += [part for more in requirement.extras for part in _packages(installed, more)]
        elif not marker.evaluate({"extra": ""}):
            found.append(str(requirement))
    return sorted(set(found))
