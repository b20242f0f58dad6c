"""Reads one run's folder and writes its report: numbers, words and plots. No torch, no Lightning.

Example:
    >>> from pathlib import Path
    >>> write_report(Path("no-such-run"))
    Traceback (most recent call last):
    lightning_dice.rules.errors.SettingError: run='no-such-run': there is no such folder
"""

from lightning_dice.analysis.readers import Rolls, Series
from lightning_dice.analysis.report import write_report
from lightning_dice.analysis.run import Expected, Run
from lightning_dice.analysis.words import paragraph

__all__ = ["Expected", "Rolls", "Run", "Series", "paragraph", "write_report"]
