import subprocess
import sys

import pytest

import lightning_dice.analysis as analysis


def test_exported_names_exist_and_are_sorted():
    assert analysis.__all__ == sorted(analysis.__all__)
    for name in analysis.__all__:
        assert getattr(analysis, name).__module__.startswith("lightning_dice.analysis")


HEAVY = {"torch", "lightning", "scipy", "pandas", "matplotlib.pyplot", "yaml"}


@pytest.mark.slow
def test_it_loads_nothing_heavy_and_leaves_the_drawing_library_alone(make_run):
    code = f"""
import sys, matplotlib
before = matplotlib.rcParams.copy()
from lightning_dice.analysis import write_report
assert matplotlib.rcParams.copy() == before, "on import"
write_report(sys.argv[1])
assert matplotlib.rcParams.copy() == before, "after a report"
print(sorted({HEAVY!r} & set(sys.modules)))
"""
    command = [sys.executable, "-W", "error", "-c", code, str(make_run(steps=30))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "[]", "")
