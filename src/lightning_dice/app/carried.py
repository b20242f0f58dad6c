"""Files that installed packages carry. Such a package is found, and never run."""

from __future__ import annotations

import hashlib
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from lightning_dice.extras import install_command
from lightning_dice.rules import SettingError

EXTRA = "text"
"""The extra that brings all of them, and what reads them."""


class Carried(NamedTuple):
    """A file of a package, as it was when everything here was measured with it.

    Attributes:
        package: What it is installed as.
        file: Where it is in the package.
        sha256: Of the file: anybody may publish another one under the same name.
    """

    package: str
    file: str
    sha256: str

    def find(self, setting: str) -> Path:
        """Where the file is here.

        Args:
            setting: What it is the default of, for the error.

        Raises:
            SettingError: If the package is missing, or carries another file.
        """
        spec = find_spec(self.package.replace("-", "_"))
        if spec is None or not spec.submodule_search_locations:
            remedy = f"needs the package {self.package}; {install_command(EXTRA)}"
            raise SettingError(setting, None, remedy)
        path = Path(spec.submodule_search_locations[0]) / self.file
        try:
            with path.open("rb") as opened:
                found = hashlib.file_digest(opened, "sha256").hexdigest()
        except OSError as error:
            remedy = f"cannot be read ({error.strerror}); {_again()}"
            raise SettingError(setting, str(path), remedy) from error
        if found != self.sha256:
            remedy = (
                f"has sha256 {found[:8]}..., where {self.sha256[:8]}... is expected; "
                f"{_again()}, or give {setting} a file of your own"
            )
            raise SettingError(setting, str(path), remedy)
        return path


def _again() -> str:
    return install_command(EXTRA, "--force-reinstall")
