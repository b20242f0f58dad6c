"""How a command refuses: one message, exit status 2."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import click

from lightning_dice.extras import install_command
from lightning_dice.rules import SettingError

_REPORT = {"pandas": "pandas", "scipy": "SciPy", "statsmodels": "statsmodels"}
_PACKAGES = {"report": _REPORT, "landscape": {"plotly": "plotly", **_REPORT}}
"""What each extra brings: how it is imported, and how it is spelled."""


class Refused(click.ClickException):
    """Something that a user has to change; the message says what."""

    exit_code = 2


@contextmanager
def refusing() -> Iterator[None]:
    """Turn a setting that cannot be used, and a file that cannot be, into a refusal."""
    try:
        yield
    except SettingError as error:
        raise Refused(str(error)) from error
    except BrokenPipeError:
        raise  # nobody reads what is printed, which click knows how to end
    except OSError as error:
        raise Refused(f"{error.filename or 'file'}: {error.strerror or error}") from error


@contextmanager
def needing(extra: str) -> Iterator[None]:
    """Turn a package that is not installed into a refusal that names the extra that brings it."""
    try:
        yield
    except ModuleNotFoundError as error:
        packages = _PACKAGES[extra]
        if (error.name or "").partition(".")[0] not in packages:
            raise
        *first, last = packages.values()
        needed = f"{', '.join(first)} and {last}"
        raise Refused(f"needs {needed}; {install_command(extra)}") from error
