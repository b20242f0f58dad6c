"""How much imperfect optimization each optimizer withstands, read from a sweep's files.

Needs pandas, SciPy and statsmodels, the extra ``report``.

Example:
    >>> write_tolerance_report("no-such-sweep")
    Traceback (most recent call last):
    lightning_dice.rules.errors.SettingError: folder='no-such-sweep': there is no such folder
"""

from lightning_dice.analysis.tolerance.report import write_tolerance_report
from lightning_dice.analysis.tolerance.study import Tolerance

__all__ = ["Tolerance", "write_tolerance_report"]
