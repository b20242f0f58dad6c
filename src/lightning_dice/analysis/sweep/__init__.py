"""Reads the runs of a sweep and writes what they show: tables, statistics, words and plots.

Needs pandas, SciPy and statsmodels, the extra ``report``; no other part of the package does.

Example:
    >>> write_sweep_report("no-such-sweep")
    Traceback (most recent call last):
    lightning_dice.rules.errors.SettingError: folder='no-such-sweep': there is no such folder
"""

from lightning_dice.analysis.sweep.gather import Sweep
from lightning_dice.analysis.sweep.report import write_sweep_report

__all__ = ["Sweep", "write_sweep_report"]
