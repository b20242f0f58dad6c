"""The templates of reports."""

from __future__ import annotations

from typing import Any

from lightning_dice import pages


def fill(template: str, **values: Any) -> str:
    """A report as text, by a template that lies below this folder; see ``lightning_dice.pages``."""
    return pages.fill("lightning_dice.analysis", template, **values)
